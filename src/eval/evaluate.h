#pragma once

#include <functional>
#include <span>
#include <vector>

#include "eval/divergence.h"
#include "eval/protocol.h"

namespace nibble {

/// A model seen as a predictor of text. Not safe to call from two threads.
class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual int64_t vocab() const = 0;
  /// Runs the tokens from position 0 and keeps what logits() needs.
  virtual void run(std::span<const int32_t> tokens) = 0;
  /// Logits [n, vocab] of rows [row, row + n) of the last run.
  virtual void logits(int64_t row, int64_t n, float* out) = 0;
};

/// Scores every model on every window, beside the reference where there is one (null: none). The reference
/// runs each window once, whatever the number of models. `step` is called after each window with the number
/// of scored tokens. Throws Error{bad_input} if vocabularies differ, Error{interrupted}.
std::vector<Divergence> evaluate(std::span<Predictor* const> models, Predictor* reference,
                                 std::span<const EvalWindow> windows,
                                 const std::function<void(int64_t)>& step);

}  // namespace nibble
