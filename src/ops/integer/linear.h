#pragma once

#include "kernels/integer_matmul.h"
#include "ops/op.h"

namespace nibble {

/// y = x W^T + b in whole numbers: each row of x is rounded to 8 bits, sums are exact. Attributes:
/// IntegerLinear.
extern const Op integer_linear_op;

struct IntegerLinear {
  std::shared_ptr<const IntegerMatrix> matrix;
};

}  // namespace nibble
