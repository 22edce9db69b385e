#pragma once

#include "kernels/fixed.h"
#include "ops/op.h"

namespace nibble {

/// RMS norm or layer norm of each row, or each group of `width` columns, in whole numbers: integer mean and
/// squares, inverse square root by Newton's method (I-BERT; I-LLM's DI-Norm). Attributes: IntegerNorm.
extern const Op integer_norm_op;

/// A normalized value is at most sqrt(width), so the result has an exponent of its own, whatever comes in.
struct IntegerNorm {
  bool center = false;  ///< layer norm
  int64_t width = 0;
  Wide eps;
  int fraction = 0;  ///< normalized values are Q(fraction) before the gain
  std::vector<int32_t> gain;
  std::vector<int32_t> bias;  ///< of the result's exponent; empty: none
  int gain_shift = 0;
  int exponent = 0;  ///< of the result
};

}  // namespace nibble
