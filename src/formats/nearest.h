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

  /// The same for n numbers times `factor`.
  void indices(const float* x, float factor, int64_t n, int32_t* out) const noexcept {
    // Counting the borders below is quicker than halving, of few borders and many numbers.
    if (count > 17 || n < 16) {
      for (int64_t i = 0; i < n; ++i) out[i] = index(x[i] * factor);
      return;
    }
    for (int64_t begin = 0; begin < n; begin += chunk) {
      float v[chunk] = {};
      int32_t below[chunk] = {};
      const int64_t m = std::min(chunk, n - begin);
      for (int64_t i = 0; i < m; ++i) v[i] = x[begin + i] * factor;
      for (int k = 0; k + 1 < count; ++k) {
        const float border = borders[k];
        for (int64_t i = 0; i < chunk; ++i) below[i] += border < v[i] ? 1 : 0;
      }
      std::copy_n(below, m, out + begin);
    }
  }

 private:
  static constexpr int64_t chunk = 64;
};

}  // namespace nibble
