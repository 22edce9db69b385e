#pragma once

#include "ops/op.h"

namespace nibble {

/// y = s (x W^T) + b: weights[0] matrix [out, in] of any format, weights[1] optional bias [out], weights[2]
/// optional scale of one value (GGUF's companion of NVFP4 matrices).
extern const Op linear_op;

/// Rows [first, first + rows) of the matrix: a part of a fused one.
struct LinearAttributes {
  int64_t first = 0;
  int64_t rows = 0;
  int64_t all_rows = 0;  ///< that the matrix must have
};

}  // namespace nibble
