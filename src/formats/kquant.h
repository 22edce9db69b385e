#pragma once

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/format.h"
#include "formats/super_affine.h"

// ggml's k-quants with offsets: 256 weights in blocks with integer scales and offsets times two f16 numbers.
// Layouts: ggml/src/ggml-common.h. The signed ones (q3_k, q6_k, q8_k) stand in kquant_signed.h.

namespace nibble {

/// Parameters of 256 weights in Count blocks: w = scale[j] * code - offset[j].
template <int Count>
struct KAffine {
  float scale[Count], offset[Count], inverse[Count];
  uint16_t d, dmin;
  uint8_t scale_code[Count], offset_code[Count];

  /// The best for 256 weights, searched with the lanes L; `plain`: see SuperBlock.
  template <class L>
  static KAffine fitted(const fitting::AffinePlan& plan, const float* x, const float* importance,
                        bool plain) noexcept {
    using Lanes = typename L::template UpTo<Count>;
    const fitting::SuperBlock<Lanes, 256 / Count, Count> block(x, importance, plain);
    constexpr int n = 256 / Count;
    const auto found = importance == nullptr && !plain
                           ? fitting::AffineSuperSearch<Lanes, n, Count, true>(block, plan).run()
                           : fitting::AffineSuperSearch<Lanes, n, Count>(block, plan).run();
    KAffine p;
    p.d = found.d;
    p.dmin = found.dmin;
    const float d = fitting::f16_float<Lanes>(found.d), dmin = fitting::f16_float<Lanes>(found.dmin);
    for (int j = 0; j < Count; ++j) {
      p.scale_code[j] = found.scale[j];
      p.offset_code[j] = found.offset[j];
      p.scale[j] = d * static_cast<float>(found.scale[j]);
      p.offset[j] = dmin * static_cast<float>(found.offset[j]);
      p.inverse[j] = p.scale[j] != 0 ? 1.0f / p.scale[j] : 0.0f;
    }
    return p;
  }
  Code round(float x, int i, float top) const noexcept {
    const int j = i / (256 / Count);
    return static_cast<Code>(std::nearbyint(std::clamp((x + offset[j]) * inverse[j], 0.0f, top)));
  }
  template <class L>
  void round_all(const float* x, int top, Code* codes) const noexcept {
    constexpr int n = 256 / Count;
    for (int j = 0; j < Count; ++j)
      fitting::nearest_codes<L>(x + j * n, n, offset[j], inverse[j], 0, top, codes + j * n);
  }
  float value(Code c, int i) const noexcept {
    const int j = i / (256 / Count);
    return scale[j] * static_cast<float>(c) - offset[j];
  }
};

/// The twelve bytes in which q4_k and q5_k keep eight 6-bit scales and eight 6-bit offsets: the first four of
/// each in the low bits of bytes 0-3 and 4-7; of the others the low nibbles in bytes 8-11 (scale low, offset
/// high) and the upper two bits on top of bytes 0-3 and 4-7.
struct PackedScales {
  uint8_t bytes[12];

  void set(const uint8_t* scales, const uint8_t* offsets) noexcept {
    for (int j = 0; j < 4; ++j) {
      bytes[j] = static_cast<uint8_t>(scales[j] | (scales[j + 4] >> 4) << 6);
      bytes[j + 4] = static_cast<uint8_t>(offsets[j] | (offsets[j + 4] >> 4) << 6);
      bytes[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | (offsets[j + 4] & 15) << 4);
    }
  }
  int scale(int j) const noexcept {
    return j < 4 ? bytes[j] & 63 : (bytes[j + 4] & 15) | (bytes[j - 4] >> 6) << 4;
  }
  int offset(int j) const noexcept {
    return j < 4 ? bytes[j + 4] & 63 : bytes[j + 4] >> 4 | (bytes[j] >> 6) << 4;
  }
};

/// 2 bits, 16 blocks of 16 with 4-bit scales and offsets: 2.625 bits per weight.
struct Q2_K {
  static constexpr FormatInfo info{.name = "q2_k",
                                   .family = "k-quants",
                                   .summary = "2-bit, 4-bit scales and offsets per 16 in 256",
                                   .gguf_id = 10,
                                   .block = 256,
                                   .bytes = 84,
                                   .activation = Act::q8_block256};
  struct Block {
    uint8_t scales[16];  ///< scale low, offset high
    uint8_t q[64];       ///< byte 32 h + k, bits 2 s: weight 128 h + 32 s + k
    uint16_t d, dmin;
  };
  using Params = KAffine<16>;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    static constexpr fitting::AffineStart starts[] = {
        {0, 0},         {0.10f, 0.10f}, {0.15f, 0},     {0, 0.15f}, {0.25f, 0.05f}, {0.05f, 0.30f},
        {0.10f, 0.05f}, {0.05f, 0.10f}, {0.15f, 0.25f}, {0.30f, 0}, {0.20f, 0.10f}, {-0.10f, 0.10f}};
    return Params::fitted<L>({3, 15, starts, 12, 1}, x, importance, true);
  }
  static Code round(float x, const Params& p, int i) { return p.round(x, i, 3); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    p.round_all<L>(x, 3, codes);
  }
  static float value(Code c, const Params& p, int i) { return p.value(c, i); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    b.dmin = p.dmin;
    for (int j = 0; j < 16; ++j) b.scales[j] = static_cast<uint8_t>(p.scale_code[j] | p.offset_code[j] << 4);
    for (int h = 0; h < 2; ++h) {
      const Code* c = codes + 128 * h;
      for (int k = 0; k < 32; ++k)
        b.q[32 * h + k] = static_cast<uint8_t>(c[k] | c[k + 32] << 2 | c[k + 64] << 4 | c[k + 96] << 6);
    }
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d), dmin = f16_to_f32(b.dmin);
    for (int j = 0; j < 16; ++j) {
      const float scale = d * static_cast<float>(b.scales[j] & 15);
      const float offset = dmin * static_cast<float>(b.scales[j] >> 4);
      const uint8_t* q = b.q + j / 8 * 32 + j % 2 * 16;
      const int shift = j / 2 % 4 * 2;
      for (int k = 0; k < 16; ++k) *out++ = scale * static_cast<float>(q[k] >> shift & 3) - offset;
    }
  }
};

/// 4 bits, 8 blocks of 32 with 6-bit scales and offsets: 4.5 bits per weight.
struct Q4_K {
  static constexpr FormatInfo info{.name = "q4_k",
                                   .family = "k-quants",
                                   .summary = "4-bit, 6-bit scales and offsets per 32 in 256",
                                   .gguf_id = 12,
                                   .block = 256,
                                   .bytes = 144,
                                   .activation = Act::q8_block256};
  struct Block {
    uint16_t d, dmin;
    PackedScales scales;
    uint8_t q[128];  ///< byte 32 h + k: weight 64 h + k low, 64 h + 32 + k high
  };
  using Params = KAffine<8>;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    static constexpr fitting::AffineStart starts[] = {
        {0, 0},         {0.03f, 0},     {0, 0.03f},       {0, -0.06f},     {0.03f, 0.03f}, {0.06f, 0},
        {-0.06f, 0},    {0, -0.03f},    {-0.06f, -0.06f}, {0, 0.06f},      {-0.03f, 0},    {0.03f, -0.03f},
        {0.03f, 0.06f}, {0.06f, 0.03f}, {-0.03f, 0.03f},  {-0.06f, -0.03f}};
    return Params::fitted<L>({15, 63, starts, 16, 2}, x, importance, false);
  }
  static Code round(float x, const Params& p, int i) { return p.round(x, i, 15); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    p.round_all<L>(x, 15, codes);
  }
  static float value(Code c, const Params& p, int i) { return p.value(c, i); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    b.dmin = p.dmin;
    b.scales.set(p.scale_code, p.offset_code);
    for (int h = 0; h < 4; ++h) {
      const Code* c = codes + 64 * h;
      for (int k = 0; k < 32; ++k) b.q[32 * h + k] = static_cast<uint8_t>(c[k] | c[k + 32] << 4);
    }
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d), dmin = f16_to_f32(b.dmin);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(b.scales.scale(j));
      const float offset = dmin * static_cast<float>(b.scales.offset(j));
      const uint8_t* q = b.q + j / 2 * 32;
      const int shift = j % 2 * 4;
      for (int k = 0; k < 32; ++k) *out++ = scale * static_cast<float>(q[k] >> shift & 15) - offset;
    }
  }
};

/// 5 bits, 8 blocks of 32 with 6-bit scales and offsets: 5.5 bits per weight.
struct Q5_K {
  static constexpr FormatInfo info{.name = "q5_k",
                                   .family = "k-quants",
                                   .summary = "5-bit, 6-bit scales and offsets per 32 in 256",
                                   .gguf_id = 13,
                                   .block = 256,
                                   .bytes = 176,
                                   .activation = Act::q8_block256};
  struct Block {
    uint16_t d, dmin;
    PackedScales scales;
    uint8_t high[32];  ///< byte k, bit j: fifth bit of weight 32 j + k
    uint8_t q[128];    ///< low four bits as in q4_k
  };
  using Params = KAffine<8>;

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    static constexpr fitting::AffineStart starts[] = {
        {0, 0},         {0, -0.04f},      {0, -0.02f},      {0, 0.02f},      {0.02f, 0},
        {-0.06f, 0},    {0, -0.06f},      {-0.04f, 0},      {-0.02f, 0},     {-0.04f, -0.08f},
        {0.02f, 0.02f}, {-0.04f, -0.06f}, {-0.08f, -0.08f}, {-0.06f, -0.04f}};
    return Params::fitted<L>({31, 63, starts, 14, 2}, x, importance, false);
  }
  static Code round(float x, const Params& p, int i) { return p.round(x, i, 31); }
  template <class L>
  static void round_all(const float* x, const Params& p, Code* codes) {
    p.round_all<L>(x, 31, codes);
  }
  static float value(Code c, const Params& p, int i) { return p.value(c, i); }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    b.dmin = p.dmin;
    b.scales.set(p.scale_code, p.offset_code);
    for (int h = 0; h < 4; ++h) {
      const Code* c = codes + 64 * h;
      for (int k = 0; k < 32; ++k)
        b.q[32 * h + k] = static_cast<uint8_t>((c[k] & 15) | (c[k + 32] & 15) << 4);
    }
    for (int k = 0; k < 32; ++k) {
      int bits = 0;
      for (int j = 0; j < 8; ++j) bits |= (codes[32 * j + k] >> 4) << j;
      b.high[k] = static_cast<uint8_t>(bits);
    }
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d), dmin = f16_to_f32(b.dmin);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(b.scales.scale(j));
      const float offset = dmin * static_cast<float>(b.scales.offset(j));
      const uint8_t* q = b.q + j / 2 * 32;
      const int shift = j % 2 * 4;
      for (int k = 0; k < 32; ++k) {
        const int code = (q[k] >> shift & 15) | (b.high[k] >> j & 1) << 4;
        *out++ = scale * static_cast<float>(code) - offset;
      }
    }
  }
};

}  // namespace nibble
