#pragma once

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/format.h"

// ggml's first block formats: 32 weights with an f16 scale. Layouts: ggml/src/ggml-common.h.

namespace nibble {

/// 8 bits, symmetric: w = d * q with q in [-127, 127].
struct Q8_0 {
  static constexpr FormatInfo info{.name = "q8_0",
                                   .family = "ggml legacy",
                                   .summary = "8-bit symmetric, f16 scale per 32",
                                   .gguf_id = 8,
                                   .block = 32,
                                   .bytes = 34,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    int8_t q[32];
  };
  struct Params {
    float d, inverse;
    uint16_t stored;
  };

  static Params fit(const float* x, const float*) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[i]));
    const uint16_t stored = f32_to_f16(amax / 127.0f);
    const float d = f16_to_f32(stored);
    return {d, d > 0 ? 1.0f / d : 0.0f, stored};
  }
  static Code round(float x, const Params& p, int) {
    return static_cast<Code>(std::clamp(std::nearbyint(x * p.inverse), -127.0f, 127.0f));
  }
  static float value(Code c, const Params& p, int) { return static_cast<float>(c) * p.d; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 32; ++i) b.q[i] = static_cast<int8_t>(codes[i]);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(b.q[i]) * d;
  }
};

/// 4 bits, symmetric grid with an even count: w = d * (q - 8) with q in [0, 15]; d may be negative.
struct Q4_0 {
  static constexpr FormatInfo info{.name = "q4_0",
                                   .family = "ggml legacy",
                                   .summary = "4-bit symmetric, f16 scale per 32",
                                   .gguf_id = 2,
                                   .block = 32,
                                   .bytes = 18,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    uint8_t q[16];  ///< byte j: weight j low, weight j + 16 high
  };
  struct Params {
    float d, inverse;
    uint16_t stored;
  };

  static Params fit(const float* x, const float*) {
    float extreme = 0;
    for (int i = 0; i < 32; ++i) {
      if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    }
    const uint16_t stored = f32_to_f16(extreme / -8.0f);  // the grid reaches one step further on this side
    const float d = f16_to_f32(stored);
    return {d, d != 0 ? 1.0f / d : 0.0f, stored};
  }
  static Code round(float x, const Params& p, int) {
    return static_cast<Code>(std::clamp(std::nearbyint(x * p.inverse) + 8.0f, 0.0f, 15.0f));
  }
  static float value(Code c, const Params& p, int) { return static_cast<float>(c - 8) * p.d; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>(codes[i] | codes[i + 16] << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((b.q[i] & 15) - 8) * d;
      out[i + 16] = static_cast<float>((b.q[i] >> 4) - 8) * d;
    }
  }
};

}  // namespace nibble
