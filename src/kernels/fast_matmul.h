#pragma once

#include "kernels/matmul.h"

namespace nibble {

/// The operands of matmul beside the weights.
struct Product {
  int64_t first, n;  ///< rows of the weights
  const float* x;    ///< [m, cols]
  int64_t m;
  float* y;
  int64_t y_stride;
};

/// matmul by the kernels of the level in use for Precision::fast; the name of what did it, or null where the
/// level has nothing better than the exact product. Called by matmul.
const char* fast_matmul(const Matrix& w, const Product& p, ThreadPool& pool);

}  // namespace nibble
