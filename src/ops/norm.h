#pragma once

#include "ops/op.h"

namespace nibble {

/// Normalizes each row, or each group of `width` columns: weights[0] scale [width], weights[1] optional bias.
/// Sums in double. Of two inputs their sum; with two outputs the first one is that sum.
extern const Op norm_op;

struct NormAttributes {
  bool center = false;  ///< false: root mean square (Zhang and Sennrich 2019); true: layer norm
  double eps = 1e-5;
  int64_t width = 0;  ///< divides the columns
};

}  // namespace nibble
