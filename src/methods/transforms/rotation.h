#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/pool.h"
#include "kernels/rotation.h"

namespace nibble {

/// A random orthogonal matrix R of n x n (kernels/rotation.h): random signs, and a random orthogonal matrix
/// over the odd rest. The same for the same n and seed, on every machine.
///
/// As QuaRot (Ashkboos et al., arXiv 2404.00456) has it, values x that only matrices write and read may be
/// turned for free: readers W [rows, n], which give x Wᵀ, become W R; writers W [n, cols] become Rᵀ W, their
/// biases b become b R. An RMS norm between them turns along once its gain is in the readers' columns.
class Rotation {
 public:
  /// Throws Error{usage} as odd_part does.
  Rotation(int64_t n, uint64_t seed);

  int64_t size() const noexcept { return turn_.size(); }
  /// x [n] becomes x R.
  void turn(float* x) const;
  /// Columns [first, first + count) of w [n, cols] become those of Rᵀ w.
  void turn_columns(std::span<float> w, size_t first, size_t count) const;

  /// x [rows, n] becomes x R: readers, looked-up embeddings, biases. Throws Error{bad_input} for another
  /// size.
  void turn_rows(std::span<float> x, ThreadPool& pool) const;
  /// w [n, cols] becomes Rᵀ w: writers.
  void turn_columns(std::span<float> w, ThreadPool& pool) const;

 private:
  FastRotation<double> turn_;
};

constexpr std::string_view rotation_summary =
    "the model turned by a random orthogonal matrix, its function kept: no channel stands out any more; "
    "needs "
    "no data; rotate:seed=7 draws another; rotate:online turns what down projections read as the model runs, "
    "which only nibble does (arXiv 2404.00456)";

/// How a recipe asks for a rotation, in a word: `rotate[:online][:seed=N]`.
struct RotationWord {
  bool online = false;  ///< inputs that no fused rotation reaches are turned as the model runs
  uint64_t seed = 0;

  /// Nothing for a word that begins otherwise. Throws Error{usage} for options that it does not have.
  static std::optional<RotationWord> parse(std::string_view word);
  std::string to_string() const;
};

}  // namespace nibble
