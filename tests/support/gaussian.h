#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace nibble::test {

/// Seeded normal numbers.
inline std::vector<float> gaussian(int64_t n, uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * scale);
  return x;
}

}  // namespace nibble::test
