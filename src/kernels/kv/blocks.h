#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/half.h"

// What formats share that give 32 columns of a position one f16 scale. A page begins with the scales,
// [blocks][64 positions]; codes follow. Columns are padded to a multiple of 8; the last block may be short.

namespace nibble {

constexpr int64_t kv_block = 32;

constexpr int64_t kv_columns(int64_t d) { return (d + 7) / 8 * 8; }
constexpr int64_t kv_blocks(int64_t d) { return (kv_columns(d) + kv_block - 1) / kv_block; }
constexpr int64_t kv_scale_bytes(int64_t d) { return kv_blocks(d) * 64 * 2; }
/// Columns of a block, padding included: 8, 16, 24 or 32.
constexpr int64_t kv_block_width(int64_t d, int64_t block) {
  return std::min(kv_block, kv_columns(d) - block * kv_block);
}

/// Nearest f16 of a scale, finite where the numbers are.
inline uint16_t kv_scale(float scale) {
  constexpr float most = 65504.0f;
  return f32_to_f16(scale > most ? most : scale < -most ? -most : scale);
}

/// Largest magnitude of n numbers; NaN if one is not finite.
inline float kv_most(const float* x, int64_t n) {
  float most = 0, strange = 0;
  for (int64_t i = 0; i < n; ++i) {
    most = std::max(most, std::fabs(x[i]));
    strange += x[i] * 0.0f;
  }
  return strange == 0.0f ? most : std::numeric_limits<float>::quiet_NaN();
}

/// Nearest whole number in [low, high]; 0 for NaN.
inline int kv_round(float x, int low, int high) {
  const float limited = x > static_cast<float>(high)   ? static_cast<float>(high)
                        : x > static_cast<float>(low)  ? x
                        : x <= static_cast<float>(low) ? static_cast<float>(low)
                                                       : 0.0f;
  return static_cast<int>(std::nearbyint(limited));
}

}  // namespace nibble
