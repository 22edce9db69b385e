#pragma once

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/format.h"
#include "formats/lane_scale.h"

// ggml's first block formats: 32 weights with an f16 scale, and in the *_1 formats an f16 offset. Layouts:
// ggml/src/ggml-common.h. Byte j of the nibbles holds weight j low and weight j + 16 high.

namespace nibble {

/// Parameters of a block that stands for d * (code - middle).
struct LegacyScale {
  float d, inverse;
  uint16_t stored;

  static LegacyScale of(uint16_t stored) noexcept {
    const float d = f16_to_f32(stored);
    return {d, d != 0 ? 1.0f / d : 0.0f, stored};
  }
  Code round(float x, float low, float high) const noexcept {
    return static_cast<Code>(std::nearbyint(std::clamp(x * inverse, low, high)) - low);
  }
  /// The best scales of L::width blocks of 32.
  template <class L>
  static void fit_lanes(const fitting::LaneInput<L>& in, const fitting::ScalePlan& plan,
                        LegacyScale* out) noexcept {
    uint16_t stored[L::width];
    fitting::fit_f16_scales<L, 32>(in, plan, stored);
    int32_t wide[L::width];
    for (int w = 0; w < L::width; ++w) wide[w] = stored[w];
    const typename L::F d = fitting::f16_value<L>(L::load_int(wide));
    float scale[L::width], inverse[L::width];
    L::store(scale, d);
    L::store(inverse, fitting::inverse_of<L>(d));
    for (int w = 0; w < L::width; ++w) out[w] = {scale[w], inverse[w], stored[w]};
  }
};

/// Parameters of a block that stands for d * code + m.
struct LegacyAffine {
  float d, m, inverse;
  uint16_t stored_d, stored_m;

  static LegacyAffine of(uint16_t d16, uint16_t m16) noexcept {
    const float d = f16_to_f32(d16);
    return {d, f16_to_f32(m16), d != 0 ? 1.0f / d : 0.0f, d16, m16};
  }
  Code round(float x, float high) const noexcept {
    return static_cast<Code>(std::nearbyint(std::clamp((x - m) * inverse, 0.0f, high)));
  }
  float value(Code c) const noexcept { return static_cast<float>(c) * d + m; }
};

/// 4 bits, an even count of steps around zero: w = d * (q - 8), q in [0, 15]; d may be negative.
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
    uint8_t q[16];
  };
  using Params = LegacyScale;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static void fit_lanes(const fitting::LaneInput<L>& in, Params* out) noexcept {
    static constexpr int16_t starts[] = {131, 115, 139, 125, 104, 145, 135, 110};
    Params::fit_lanes(in, {{-8, 7, 11}, 4, starts, 8}, out);
  }
  static Code round(float x, const Params& p, int) { return p.round(x, -8, 7); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    fitting::nearest_codes<L>(x, 32, 0, p.inverse, -8, 7, codes);
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

/// 4 bits with an offset: w = d * q + m, q in [0, 15].
struct Q4_1 {
  static constexpr FormatInfo info{.name = "q4_1",
                                   .family = "ggml legacy",
                                   .summary = "4-bit, f16 scale and offset per 32",
                                   .gguf_id = 3,
                                   .block = 32,
                                   .bytes = 20,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d, m;
    uint8_t q[16];
  };
  using Params = LegacyAffine;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) { return p.round(x, 15); }
  static float value(Code c, const Params& p, int) { return p.value(c); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored_d;
    b.m = p.stored_m;
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>(codes[i] | codes[i + 16] << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d), m = f16_to_f32(b.m);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(b.q[i] & 15) * d + m;
      out[i + 16] = static_cast<float>(b.q[i] >> 4) * d + m;
    }
  }
};

/// The fifth bits of 32 codes, bit i for weight i, little end first.
struct FifthBits {
  uint8_t bytes[4];

  void set(const Code* codes) noexcept {
    for (int i = 0; i < 32; ++i) bytes[i / 8] |= static_cast<uint8_t>((codes[i] >> 4 & 1) << (i % 8));
  }
  /// 16 or 0.
  int get(int i) const noexcept { return (bytes[i / 8] >> (i % 8) & 1) << 4; }
};

/// 5 bits around zero: w = d * (q - 16), q in [0, 31]; d may be negative.
struct Q5_0 {
  static constexpr FormatInfo info{.name = "q5_0",
                                   .family = "ggml legacy",
                                   .summary = "5-bit symmetric, f16 scale per 32",
                                   .gguf_id = 6,
                                   .block = 32,
                                   .bytes = 22,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    FifthBits high;
    uint8_t q[16];
  };
  using Params = LegacyScale;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static void fit_lanes(const fitting::LaneInput<L>& in, Params* out) noexcept {
    static constexpr int16_t starts[] = {50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
                                         60, 61, 62, 63, 64, 65, 66, 67, 68};
    Params::fit_lanes(in, {{-16, 15, 10}, 2, starts, 19}, out);
  }
  static Code round(float x, const Params& p, int) { return p.round(x, -16, 15); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    fitting::nearest_codes<L>(x, 32, 0, p.inverse, -16, 15, codes);
  }
  static float value(Code c, const Params& p, int) { return static_cast<float>(c - 16) * p.d; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    b.high = {};
    b.high.set(codes);
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(((b.q[i] & 15) | b.high.get(i)) - 16) * d;
      out[i + 16] = static_cast<float>(((b.q[i] >> 4) | b.high.get(i + 16)) - 16) * d;
    }
  }
};

/// 5 bits with an offset: w = d * q + m, q in [0, 31].
struct Q5_1 {
  static constexpr FormatInfo info{.name = "q5_1",
                                   .family = "ggml legacy",
                                   .summary = "5-bit, f16 scale and offset per 32",
                                   .gguf_id = 7,
                                   .block = 32,
                                   .bytes = 24,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d, m;
    FifthBits high;
    uint8_t q[16];
  };
  using Params = LegacyAffine;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) { return p.round(x, 31); }
  static float value(Code c, const Params& p, int) { return p.value(c); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored_d;
    b.m = p.stored_m;
    b.high = {};
    b.high.set(codes);
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d), m = f16_to_f32(b.m);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((b.q[i] & 15) | b.high.get(i)) * d + m;
      out[i + 16] = static_cast<float>((b.q[i] >> 4) | b.high.get(i + 16)) * d + m;
    }
  }
};

/// 8 bits, symmetric: w = d * q, q in [-127, 127]; codes count from -127.
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
  using Params = LegacyScale;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static void fit_lanes(const fitting::LaneInput<L>& in, Params* out) noexcept {
    // Whole numbers, which leave the extreme weight as it is.
    static constexpr int16_t starts[] = {115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127};
    Params::fit_lanes(in, {{-127, 127, 7}, 0, starts, 13}, out);
  }
  static Code round(float x, const Params& p, int) { return p.round(x, -127, 127); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    fitting::nearest_codes<L>(x, 32, 0, p.inverse, -127, 127, codes);
  }
  static float value(Code c, const Params& p, int) { return static_cast<float>(c - 127) * p.d; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 32; ++i) b.q[i] = static_cast<int8_t>(codes[i] - 127);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(b.q[i]) * d;
  }
};

}  // namespace nibble
