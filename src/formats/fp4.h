#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/half.h"
#include "formats/format.h"

// 4-bit floats (E2M1) under shared scales as GGUF stores them. The elements: OCP Microscaling Formats v1.0;
// the layouts: ggml/src/ggml-common.h. The grid is kept doubled, in integers, and the scales halved, as ggml
// does, so that decoding agrees to the bit; in particular the code of -0 decodes to +0.

namespace nibble {

/// Twice the magnitudes of E2M1 codes 0 to 7; bit 3 is the sign.
inline constexpr std::array<int8_t, 16> fp4_doubled{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// E2M1 code nearest to u / 2; never the code of -0.
inline Code fp4_nearest_doubled(float u) noexcept {
  const float a = std::fabs(u);
  Code c = 0;
  for (size_t k = 1; k < 8; ++k) {
    c += a > 0.5f * static_cast<float>(fp4_doubled[k - 1] + fp4_doubled[k]) ? 1 : 0;
  }
  return u < 0 && c > 0 ? c | 8 : c;
}

/// 32 weights under a power of two (E8M0): 4.25 bits per weight.
struct MXFP4 {
  static constexpr FormatInfo info{.name = "mxfp4",
                                   .family = "4-bit floats",
                                   .summary = "E2M1 elements, E8M0 scale per 32",
                                   .gguf_id = 39,
                                   .block = 32,
                                   .bytes = 17,
                                   .activation = Act::q8_block32};
  struct Block {
    uint8_t e;
    uint8_t q[16];  ///< byte j: weight j low, weight j + 16 high
  };
  struct Params {
    float d, inverse;
    uint8_t e;
  };

  /// Half of the scale: 2^(e - 128). The largest exponent code, NaN in the standard, gives 2^127 as in ggml.
  static float half_scale(uint8_t e) noexcept {
    return e < 2 ? std::bit_cast<float>(0x00200000u << e) : std::bit_cast<float>((e - 1u) << 23);
  }
  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) { return fp4_nearest_doubled(x * p.inverse); }
  static float value(Code c, const Params& p, int) {
    return static_cast<float>(fp4_doubled[static_cast<size_t>(c)]) * p.d;
  }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.e = p.e;
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>(codes[i] | codes[i + 16] << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = half_scale(b.e);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(fp4_doubled[b.q[i] & 15]) * d;
      out[i + 16] = static_cast<float>(fp4_doubled[b.q[i] >> 4]) * d;
    }
  }
};

/// 64 weights in four blocks of 16 under unsigned E4M3 scales: 4.5 bits per weight. A GGUF file may give the
/// whole tensor a further factor, which is a tensor of its own (NAME.scale) and no part of these blocks.
struct NVFP4 {
  static constexpr FormatInfo info{.name = "nvfp4",
                                   .family = "4-bit floats",
                                   .summary = "E2M1 elements, E4M3 scale per 16",
                                   .gguf_id = 40,
                                   .block = 64,
                                   .bytes = 36,
                                   .activation = Act::q8_block32};
  struct Block {
    uint8_t scales[4];
    uint8_t q[32];  ///< byte 8 s + j: weight 16 s + j low, weight 16 s + 8 + j high
  };
  struct Params {
    float d[4], inverse[4];
    uint8_t scales[4];
  };

  /// Half of the scale. The top bit is ignored; 0x7f, NaN in the standard, gives 0 as in ggml.
  static float half_scale(uint8_t s) noexcept {
    if (s == 0x7f) return 0.0f;
    const uint32_t exponent = s >> 3 & 15u, mantissa = s & 7u;
    if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
    return std::bit_cast<float>((exponent + 119u) << 23 | mantissa << 20);
  }
  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int i) { return fp4_nearest_doubled(x * p.inverse[i / 16]); }
  static float value(Code c, const Params& p, int i) {
    return static_cast<float>(fp4_doubled[static_cast<size_t>(c)]) * p.d[i / 16];
  }
  static void pack(const Code* codes, const Params& p, Block& b) {
    std::copy_n(p.scales, 4, b.scales);
    for (int i = 0; i < 32; ++i) {
      const Code* c = codes + i / 8 * 16 + i % 8;
      b.q[i] = static_cast<uint8_t>(c[0] | c[8] << 4);
    }
  }
  static void decode(const Block& b, float* out) {
    for (int s = 0; s < 4; ++s) {
      const float d = half_scale(b.scales[s]);
      for (int i = 0; i < 8; ++i) {
        out[16 * s + i] = static_cast<float>(fp4_doubled[b.q[8 * s + i] & 15]) * d;
        out[16 * s + 8 + i] = static_cast<float>(fp4_doubled[b.q[8 * s + i] >> 4]) * d;
      }
    }
  }
};

}  // namespace nibble
