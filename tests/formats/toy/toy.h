#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/format.h"

namespace nibble {

/// What it takes to add a format: 16 weights share an f32 step, w = step * q with q in [-7, 7], two codes a
/// byte.
struct Toy {
  static constexpr FormatInfo info{.name = "toy",
                                   .family = "tests",
                                   .summary = "4-bit symmetric, f32 step per 16",
                                   .block = 16,
                                   .bytes = 12};
  struct Block {
    float step;
    uint8_t q[8];  ///< byte j: weight 2j low, weight 2j + 1 high; both with 8 added
  };
  struct Params {
    float step;
  };

  static Params fit(const float* x, const float*) {
    float top = 0;
    for (int i = 0; i < 16; ++i) top = std::max(top, std::fabs(x[i]));
    return {top / 7.0f};
  }
  static Code round(float x, const Params& p, int) {
    const float t = p.step > 0 ? x / p.step : 0.0f;
    return 8 + static_cast<Code>(std::clamp(std::nearbyint(t), -7.0f, 7.0f));
  }
  static float value(Code c, const Params& p, int) { return static_cast<float>(c - 8) * p.step; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.step = p.step;
    for (int j = 0; j < 8; ++j) b.q[j] = static_cast<uint8_t>(codes[2 * j] | codes[2 * j + 1] << 4);
  }
  static void decode(const Block& b, float* out) {
    for (int j = 0; j < 8; ++j) {
      out[2 * j] = static_cast<float>((b.q[j] & 15) - 8) * b.step;
      out[2 * j + 1] = static_cast<float>((b.q[j] >> 4) - 8) * b.step;
    }
  }
};

}  // namespace nibble
