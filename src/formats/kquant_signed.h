#pragma once

#include "formats/kquant.h"
#include "formats/super_scale.h"

// ggml's k-quants without offsets. Layouts: ggml/src/ggml-common.h.

namespace nibble {

/// Parameters of 256 weights in 16 blocks of 16: w = scale[j] * (code - middle).
struct KScale {
  float scale[16], inverse[16];
  uint16_t d;
  int8_t scale_code[16];

  /// The best for 256 weights and codes in a grid of integers, searched with the lanes L; `plain`: see
  /// SuperBlock.
  template <class L>
  static KScale fitted(const fitting::Integers& grid, const fitting::ScaleSuperPlan& plan, const float* x,
                       const float* importance, bool plain) noexcept {
    using Lanes = typename L::template UpTo<16>;
    const fitting::SuperBlock<Lanes, 16, 16> block(x, importance, plain);
    using fitting::Integers;
    const auto found = importance == nullptr && !plain
                           ? fitting::ScaleSuperSearch<Lanes, 16, 16, Integers, true>(block, grid, plan).run()
                           : fitting::ScaleSuperSearch<Lanes, 16, 16, Integers>(block, grid, plan).run();
    KScale p;
    p.d = found.d;
    const float d = fitting::f16_float<Lanes>(found.d);
    for (int j = 0; j < 16; ++j) {
      p.scale_code[j] = found.scale[j];
      p.scale[j] = d * static_cast<float>(found.scale[j]);
      p.inverse[j] = p.scale[j] != 0 ? 1.0f / p.scale[j] : 0.0f;
    }
    return p;
  }
  Code round(float x, int i, float low, float high) const noexcept {
    return static_cast<Code>(std::nearbyint(std::clamp(x * inverse[i / 16], low, high)) - low);
  }
  template <class L>
  void round_all(const float* x, int low, int high, Code* codes) const noexcept {
    for (int j = 0; j < 16; ++j)
      fitting::nearest_codes<L>(x + 16 * j, 16, 0, inverse[j], low, high, codes + 16 * j);
  }
};

/// 3 bits, 16 blocks of 16 with signed 6-bit scales: w = scale * (q - 4), 3.4375 bits per weight.
struct Q3_K {
  static constexpr FormatInfo info{.name = "q3_k",
                                   .family = "k-quants",
                                   .summary = "3-bit symmetric, 6-bit scales per 16 in 256",
                                   .gguf_id = 11,
                                   .block = 256,
                                   .bytes = 110,
                                   .activation = Act::q8_block256};
  struct Block {
    uint8_t high[32];    ///< byte k, bit s: third bit of weight 32 s + k
    uint8_t q[64];       ///< byte 32 h + k, bits 2 s: low bits of weight 128 h + 32 s + k
    uint8_t scales[12];  ///< scale + 32: low nibbles of j and j + 8 in byte j < 8, upper two bits of j, j +
                         ///< 4, j + 8, j + 12 in byte 8 + j
    uint16_t d;
  };
  using Params = KScale;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    static constexpr float starts[] = {-4, -4.5f, 3.25f, -5.5f, 4.25f, -3.75f, 3, -4.25f, -5, 5, -6, 6};
    static constexpr int8_t largest[] = {-32, -31, -30, -29, -28};
    return Params::fitted<L>({-4, 3}, {starts, 12, -32, 31, largest, 5}, x, importance, true);
  }
  static Code round(float x, const Params& p, int i) { return p.round(x, i, -4, 3); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    p.round_all<L>(x, -4, 3, codes);
  }
  static float value(Code c, const Params& p, int i) { return p.scale[i / 16] * static_cast<float>(c - 4); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    for (int j = 0; j < 16; ++j) {
      const int s = p.scale_code[j] + 32;
      b.scales[j % 8] |= static_cast<uint8_t>((s & 15) << (j / 8 * 4));
      b.scales[8 + j % 4] |= static_cast<uint8_t>((s >> 4) << (j / 4 * 2));
    }
    for (int h = 0; h < 2; ++h) {
      const Code* c = codes + 128 * h;
      for (int k = 0; k < 32; ++k)
        b.q[32 * h + k] = static_cast<uint8_t>((c[k] & 3) | (c[k + 32] & 3) << 2 | (c[k + 64] & 3) << 4 |
                                               (c[k + 96] & 3) << 6);
    }
    for (int k = 0; k < 32; ++k) {
      int bits = 0;
      for (int s = 0; s < 8; ++s) bits |= (codes[32 * s + k] >> 2) << s;
      b.high[k] = static_cast<uint8_t>(bits);
    }
  }
  static int scale_of(const Block& b, int j) noexcept {
    return ((b.scales[j % 8] >> (j / 8 * 4) & 15) | (b.scales[8 + j % 4] >> (j / 4 * 2) & 3) << 4) - 32;
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int j = 0; j < 16; ++j) {
      const float scale = d * static_cast<float>(scale_of(b, j));
      const uint8_t* q = b.q + j / 8 * 32 + j % 2 * 16;
      const uint8_t* high = b.high + j % 2 * 16;
      const int shift = j / 2 % 4 * 2;
      for (int k = 0; k < 16; ++k) {
        const int code = (q[k] >> shift & 3) | (high[k] >> (j / 2) & 1) << 2;
        *out++ = scale * static_cast<float>(code - 4);
      }
    }
  }
};

/// 6 bits, 16 blocks of 16 with signed 8-bit scales: w = scale * (q - 32), 6.5625 bits per weight.
struct Q6_K {
  static constexpr FormatInfo info{.name = "q6_k",
                                   .family = "k-quants",
                                   .summary = "6-bit symmetric, 8-bit scales per 16 in 256",
                                   .gguf_id = 14,
                                   .block = 256,
                                   .bytes = 210,
                                   .activation = Act::q8_block256};
  struct Block {
    uint8_t low[128];  ///< byte 64 h + k: low nibbles of weights 128 h + k and 128 h + 64 + k, k < 64
    uint8_t high[64];  ///< byte 32 h + k, bits 2 s: upper bits of weight 128 h + 32 s + k
    int8_t scales[16];
    uint16_t d;
  };
  using Params = KScale;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    static constexpr float starts[] = {-32, -31, -30,    -29, -28,    -27,    -32.5f,
                                       -26, -25, -31.5f, -24, -30.5f, -33.5f, -23};
    static constexpr int8_t largest[] = {-128, -126, -124, 127};
    return Params::fitted<L>({-32, 31}, {starts, 14, -128, 127, largest, 4}, x, importance, false);
  }
  static Code round(float x, const Params& p, int i) { return p.round(x, i, -32, 31); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    p.round_all<L>(x, -32, 31, codes);
  }
  static float value(Code c, const Params& p, int i) { return p.scale[i / 16] * static_cast<float>(c - 32); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    std::copy_n(p.scale_code, 16, b.scales);
    for (int h = 0; h < 2; ++h) {
      const Code* c = codes + 128 * h;
      for (int k = 0; k < 64; ++k)
        b.low[64 * h + k] = static_cast<uint8_t>((c[k] & 15) | (c[k + 64] & 15) << 4);
      for (int k = 0; k < 32; ++k)
        b.high[32 * h + k] = static_cast<uint8_t>(c[k] >> 4 | (c[k + 32] >> 4) << 2 | (c[k + 64] >> 4) << 4 |
                                                  (c[k + 96] >> 4) << 6);
    }
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int j = 0; j < 16; ++j) {
      const float scale = d * static_cast<float>(b.scales[j]);
      const uint8_t* low = b.low + j / 8 * 64 + j % 4 * 16;
      const uint8_t* high = b.high + j / 8 * 32 + j % 2 * 16;
      const int low_shift = j % 8 / 4 * 4, high_shift = j % 8 / 2 * 2;
      for (int k = 0; k < 16; ++k) {
        const int code = (low[k] >> low_shift & 15) | (high[k] >> high_shift & 3) << 4;
        *out++ = scale * static_cast<float>(code - 32);
      }
    }
  }
};

/// 8 bits with one f32 scale per 256, and the sums of 16 codes each: what k-quant products take as
/// activations.
struct Q8_K {
  static constexpr FormatInfo info{.name = "q8_k",
                                   .family = "k-quants",
                                   .summary = "8-bit symmetric, f32 scale per 256",
                                   .gguf_id = 15,
                                   .block = 256,
                                   .bytes = 292,
                                   .activation = Act::q8_block256};
  struct Block {
    float d;
    int8_t q[256];
    int16_t sums[16];
  };
  struct Params {
    float d, inverse;
  };

  static Params fit(const float* x, const float* importance);
  static Code round(float x, const Params& p, int) {
    return static_cast<Code>(std::nearbyint(std::clamp(x * p.inverse, -127.0f, 127.0f))) + 127;
  }
  static float value(Code c, const Params& p, int) { return p.d * static_cast<float>(c - 127); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    for (int i = 0; i < 256; ++i) {
      b.q[i] = static_cast<int8_t>(codes[i] - 127);
      b.sums[i / 16] = static_cast<int16_t>(b.sums[i / 16] + codes[i] - 127);
    }
  }
  static void decode(const Block& b, float* out) {
    for (int i = 0; i < 256; ++i) out[i] = b.d * static_cast<float>(b.q[i]);
  }
};

}  // namespace nibble
