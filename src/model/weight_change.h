#pragma once

#include <memory>
#include <string>

#include "model/checkpoint.h"

namespace nibble {

/// A change of a model's weights that keeps its function, made on their way from the file: whoever reads a
/// checkpoint that carries one meets the changed model. All methods may be called from several threads.
class WeightChange {
 public:
  virtual ~WeightChange() = default;
  /// One line that says what is changed: with the files, all that the weights depend on.
  virtual std::string identity() const = 0;
  /// Whether a tensor's weights are others than in the files.
  virtual bool touches(const CanonicalTensor& t) const = 0;
  /// What becomes of them, for people; empty where they are not touched.
  virtual std::string note(const CanonicalTensor& t) const = 0;
  /// Rows of a tensor that it touches, as Checkpoint::read_rows gives them.
  virtual void read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const = 0;
  /// Names of matrices whose columns it turns, so that their inputs must be as well (ops/turn.h).
  virtual std::vector<std::string> turned_inputs() const { return {}; }
  /// Lets go of what is kept of the tensor.
  virtual void release(const CanonicalTensor& t) const noexcept = 0;
  /// Bound on the memory that is kept.
  virtual uint64_t memory() const noexcept = 0;
};

/// The same files, read through the change. `untie` gives a model whose output matrix is its embedding one of
/// its own, with the same weights before the change. Throws Error{unsupported} where the architecture has no
/// such matrix, or the model carries a change already.
Checkpoint with_change(const Checkpoint& model, std::shared_ptr<const WeightChange> change, bool untie);

}  // namespace nibble
