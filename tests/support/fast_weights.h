#pragma once
// Matrices for products in Precision::fast.

#include <string>

#include "kernels/matmul.h"
#include "support/gaussian.h"

namespace nibble::test {

inline Matrix weights(const std::string& word, Shape shape, uint64_t seed = 1) {
  Matrix w(encode_nearest(format_of(word), shape, gaussian(shape.elements(), seed, 0.1)), "w");
  w.set_precision(Precision::fast);
  return w;
}

/// The same in lanes, where the level in use has them.
inline Matrix arranged(Matrix w) {
  ThreadPool pool(2);
  HugeMemory memory;
  w.use_lanes();
  w.arrange(memory, pool);
  return w;
}

}  // namespace nibble::test
