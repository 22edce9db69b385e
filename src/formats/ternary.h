#pragma once

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/format.h"

// ggml's formats of one to two bits with a single f16 scale. Layouts: ggml/src/ggml-common.h.

namespace nibble {

/// Parameters of a block that stands for d * (code - 1) with d >= 0 where signs are codes.
struct TernaryScale {
  float d, inverse;
  uint16_t stored;

  static TernaryScale of(uint16_t stored) noexcept {
    const float d = f16_to_f32(stored);
    return {d, d != 0 ? 1.0f / d : 0.0f, stored};
  }
  /// Nearest of -d, 0, d, plus one.
  Code round(float x) const noexcept {
    return static_cast<Code>(std::nearbyint(std::clamp(x * inverse, -1.0f, 1.0f))) + 1;
  }
  float value(Code c) const noexcept { return static_cast<float>(c - 1) * d; }
};

/// Signs alone: w = d or -d, one f16 scale per 128: 1.125 bits per weight.
struct Q1_0 {
  static constexpr FormatInfo info{.name = "q1_0",
                                   .family = "ggml ternary",
                                   .summary = "signs, f16 scale per 128",
                                   .gguf_id = 41,
                                   .block = 128,
                                   .bytes = 18,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    uint8_t q[16];  ///< bit i: weight i is +d
  };
  using Params = TernaryScale;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params&, int) { return x >= 0 ? 1 : 0; }
  static float value(Code c, const Params& p, int) { return c != 0 ? p.d : -p.d; }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 128; ++i) b.q[i / 8] |= static_cast<uint8_t>(codes[i] << (i % 8));
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 128; ++i) out[i] = (b.q[i / 8] >> (i % 8) & 1) != 0 ? d : -d;
  }
};

/// Four levels -1, 0, 1, 2 times an f16 scale of either sign per 64: 2.25 bits per weight.
struct Q2_0 {
  static constexpr FormatInfo info{.name = "q2_0",
                                   .family = "ggml ternary",
                                   .summary = "levels -1, 0, 1, 2, f16 scale per 64",
                                   .gguf_id = 42,
                                   .block = 64,
                                   .bytes = 18,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    uint8_t q[16];  ///< byte j, bits 2 k: weight 4 j + k
  };
  using Params = TernaryScale;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) {
    return static_cast<Code>(std::nearbyint(std::clamp(x * p.inverse, -1.0f, 2.0f))) + 1;
  }
  static float value(Code c, const Params& p, int) { return p.value(c); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 64; ++i) b.q[i / 4] |= static_cast<uint8_t>(codes[i] << (i % 4 * 2));
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 64; ++i) out[i] = static_cast<float>((b.q[i / 4] >> (i % 4 * 2) & 3) - 1) * d;
  }
};

/// Ternary, five weights to a byte, one f16 scale per 256: 1.6875 bits per weight. A byte is the fraction
/// n / 243 of 256, rounded up, of the number n whose digits to base 3 are the codes, the first one leading:
/// multiplying by 3 moves one digit after the other above the byte.
struct TQ1_0 {
  static constexpr FormatInfo info{.name = "tq1_0",
                                   .family = "ggml ternary",
                                   .summary = "ternary, five weights a byte, f16 scale per 256",
                                   .gguf_id = 34,
                                   .block = 256,
                                   .bytes = 54,
                                   .activation = Act::q8_block256};
  struct Block {
    uint8_t q[48];    ///< byte k < 32: weights k + 32 n; byte 32 + k: weights 160 + k + 16 n, n < 5
    uint8_t last[4];  ///< byte k: weights 240 + k + 4 n, n < 4
    uint16_t d;
  };
  using Params = TernaryScale;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) { return p.round(x); }
  static float value(Code c, const Params& p, int) { return p.value(c); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int k = 0; k < 32; ++k) b.q[k] = pack_digits(codes + k, 32, 5);
    for (int k = 0; k < 16; ++k) b.q[32 + k] = pack_digits(codes + 160 + k, 16, 5);
    for (int k = 0; k < 4; ++k) b.last[k] = pack_digits(codes + 240 + k, 4, 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 32; ++k) unpack_digits(b.q[k], 32, 5, d, out + k);
    for (int k = 0; k < 16; ++k) unpack_digits(b.q[32 + k], 16, 5, d, out + 160 + k);
    for (int k = 0; k < 4; ++k) unpack_digits(b.last[k], 4, 4, d, out + 240 + k);
  }

 private:
  static uint8_t pack_digits(const Code* codes, int stride, int count) noexcept {
    int n = 0;
    for (int k = 0; k < 5; ++k) n = n * 3 + (k < count ? codes[k * stride] : 0);
    return static_cast<uint8_t>((n * 256 + 242) / 243);
  }
  static void unpack_digits(uint8_t byte, int stride, int count, float d, float* out) noexcept {
    int fraction = byte;
    for (int k = 0; k < count; ++k) {
      out[k * stride] = static_cast<float>((fraction * 3 >> 8) - 1) * d;
      fraction = fraction * 3 & 255;
    }
  }
};

/// Ternary, two bits a weight, one f16 scale per 256: 2.0625 bits per weight. The fourth code decodes to 2 d,
/// but the format is written by and for ternary models, so nibble does not use it.
struct TQ2_0 {
  static constexpr FormatInfo info{.name = "tq2_0",
                                   .family = "ggml ternary",
                                   .summary = "ternary, two bits a weight, f16 scale per 256",
                                   .gguf_id = 35,
                                   .block = 256,
                                   .bytes = 66,
                                   .activation = Act::q8_block256};
  struct Block {
    uint8_t q[64];  ///< byte 32 h + k, bits 2 s: weight 128 h + 32 s + k
    uint16_t d;
  };
  using Params = TernaryScale;

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) { return p.round(x); }
  static float value(Code c, const Params& p, int) { return p.value(c); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 64; ++i) {
      const Code* c = codes + i / 32 * 128 + i % 32;
      b.q[i] = static_cast<uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
    }
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 256; ++i) {
      out[i] = static_cast<float>((b.q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3) - 1) * d;
    }
  }
};

}  // namespace nibble
