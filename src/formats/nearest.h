#pragma once

#include <algorithm>
#include <cstdint>

namespace nibble {

/// Nearest of up to `capacity` ascending levels, in a fixed place (fits into Params). A number just between
/// two levels goes to the lower one.
template <int capacity>
struct Nearest {
  int32_t count = 0;
  float levels[capacity];
  float borders[capacity];  ///< [i]: between levels i and i + 1

  /// `sorted` must be ascending; 1 <= n <= capacity.
  void set(const float* sorted, int n) noexcept {
    count = n;
    std::copy_n(sorted, n, levels);
    // Halves first: the sum of two large levels could leave the range of floats.
    for (int i = 0; i + 1 < n; ++i) borders[i] = 0.5f * sorted[i] + 0.5f * sorted[i + 1];
  }

  int index(float x) const noexcept {
    const float* at = borders;
    int length = count - 1;
    while (length > 0) {  // branch-free halving: the compiler makes conditional moves of it
      const int half = (length + 1) / 2;
      at += at[half - 1] < x ? half : 0;
      length -= half;
    }
    return static_cast<int>(at - borders);
  }
};

}  // namespace nibble
