#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/half.h"
#include "formats/format.h"
#include "formats/lane_scale.h"
#include "formats/super_scale.h"

// ggml's 4-bit formats on a fixed grid that is denser around zero. Layouts: ggml/src/ggml-common.h. Byte j of
// the nibbles of 32 weights holds weight j low and weight j + 16 high.

namespace nibble {

/// The sixteen grid points of iq4_nl and iq4_xs.
inline constexpr std::array<int8_t, 16> iq4_values{-127, -104, -83, -65, -49, -35, -22, -10,
                                                   1,    13,   25,  38,  53,  69,  89,  113};

/// Index of the grid point nearest to u.
inline Code iq4_nearest(float u) noexcept {
  Code c = 0;
  for (size_t k = 1; k < 16; ++k) {
    c += u > 0.5f * static_cast<float>(iq4_values[k - 1] + iq4_values[k]) ? 1 : 0;
  }
  return c;
}

/// The grid as a search sees it: codes by a polynomial, which takes the second nearest where the nearest is
/// hardly nearer (within a fortieth of their distance); grid points by another, exactly.
struct Iq4Grid {
  template <class L>
  typename L::F nearest(typename L::F u) const noexcept {
    using F = typename L::F;
    const F v = fitting::least<L>(fitting::most<L>(u, L::splat(-127)), L::splat(113));
    const F s = v * v;
    // Codes less 7; fitted to be half way between two at the midpoints of their values.
    const F even = L::splat(0.878435552f) + s * (L::splat(1.9509705e-6f) - s * L::splat(6.91632474e-10f));
    const F odd = L::splat(0.0852923542f) - s * (L::splat(2.74354261e-6f) - s * L::splat(8.18657919e-11f));
    const F k = fitting::whole<L>(even + v * odd);
    const F t = k * k;
    // Less than 0.44 from the values.
    const F values_even =
        L::splat(-10.1038857f) - t * (L::splat(0.252815217f) - t * L::splat(0.00158604281f));
    const F values_odd = L::splat(11.7126093f) + t * L::splat(0.075495638f);
    return fitting::whole<L>(values_even + k * values_odd);
  }

  /// Where searches put the extreme weight; chosen greedily, each next one lowering the error most.
  template <class L>
  static const float* starts() noexcept {
    static constexpr float all[start_count] = {-127, -135, 115,  -119, -107, 123,  -143,
                                               107,  -131, -123, 131,  -155, -111, -103};
    return all;
  }
  static constexpr int start_count = 14;
};

/// One f16 scale per 32: 4.5 bits per weight.
struct IQ4_NL {
  static constexpr FormatInfo info{.name = "iq4_nl",
                                   .family = "ggml 4-bit grid",
                                   .summary = "4-bit non-linear grid, f16 scale per 32",
                                   .gguf_id = 20,
                                   .block = 32,
                                   .bytes = 18,
                                   .activation = Act::q8_block32};
  struct Block {
    uint16_t d;
    uint8_t q[16];
  };
  struct Params {
    float d, inverse;
    uint16_t stored;
  };

  static Params fit(const float* x, const float* importance);
  template <class L>
  static void fit_lanes(const fitting::LaneInput<L>& in, Params* out) noexcept {
    uint16_t stored[L::width];
    fitting::fit_f16_scales<L, 32>(in, Iq4Grid{}, Iq4Grid::starts<L>(), Iq4Grid::start_count, stored);
    for (int w = 0; w < L::width; ++w) {
      const float d = f16_to_f32(stored[w]);
      out[w] = {d, d != 0 ? 1 / d : 0.0f, stored[w]};
    }
  }
  static Code round(float x, const Params& p, int) { return iq4_nearest(x * p.inverse); }
  static float value(Code c, const Params& p, int) {
    return p.d * static_cast<float>(iq4_values[static_cast<size_t>(c)]);
  }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.stored;
    for (int i = 0; i < 16; ++i) b.q[i] = static_cast<uint8_t>(codes[i] | codes[i + 16] << 4);
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>(iq4_values[b.q[i] & 15]);
      out[i + 16] = d * static_cast<float>(iq4_values[b.q[i] >> 4]);
    }
  }
};

/// Signed 6-bit scales per 32 times one f16 scale per 256: 4.25 bits per weight.
struct IQ4_XS {
  static constexpr FormatInfo info{.name = "iq4_xs",
                                   .family = "ggml 4-bit grid",
                                   .summary = "4-bit non-linear grid, 6-bit scales per 32 in 256",
                                   .gguf_id = 23,
                                   .block = 256,
                                   .bytes = 136,
                                   .activation = Act::q8_block256};
  struct Block {
    uint16_t d;
    uint16_t scales_high;   ///< bits 2 j: upper bits of scale j + 32
    uint8_t scales_low[4];  ///< low nibbles of scales 2 j (low) and 2 j + 1 (high)
    uint8_t q[128];
  };
  struct Params {
    float scale[8], inverse[8];
    uint16_t d;
    int8_t scale_code[8];
  };

  static Params fit(const float* x, const float* importance);
  template <class L>
  static Params fit_with(const float* x, const float* importance) noexcept {
    using Lanes = typename L::template UpTo<8>;
    static constexpr int8_t largest[] = {-32, -31, -30, -29, -28};
    const fitting::ScaleSuperPlan plan{Iq4Grid::starts<L>(), Iq4Grid::start_count, -32, 31, largest, 5};
    const fitting::SuperBlock<Lanes, 32, 8> block(x, importance, false);
    const auto found = importance == nullptr
                           ? fitting::ScaleSuperSearch<Lanes, 32, 8, Iq4Grid, true>(block, {}, plan).run()
                           : fitting::ScaleSuperSearch<Lanes, 32, 8, Iq4Grid>(block, {}, plan).run();
    Params p;
    p.d = found.d;
    const float d = fitting::f16_float<Lanes>(found.d);
    for (int j = 0; j < 8; ++j) {
      p.scale_code[j] = found.scale[j];
      p.scale[j] = d * static_cast<float>(found.scale[j]);
      p.inverse[j] = p.scale[j] != 0 ? 1.0f / p.scale[j] : 0.0f;
    }
    return p;
  }
  static Code round(float x, const Params& p, int i) { return iq4_nearest(x * p.inverse[i / 32]); }
  static float value(Code c, const Params& p, int i) {
    return p.scale[i / 32] * static_cast<float>(iq4_values[static_cast<size_t>(c)]);
  }
  static void pack(const Code* codes, const Params& p, Block& b) {
    b.d = p.d;
    for (int j = 0; j < 8; ++j) {
      const int s = p.scale_code[j] + 32;
      b.scales_low[j / 2] |= static_cast<uint8_t>((s & 15) << (j % 2 * 4));
      b.scales_high |= static_cast<uint16_t>((s >> 4) << (2 * j));
      const Code* c = codes + 32 * j;
      for (int i = 0; i < 16; ++i) b.q[16 * j + i] = static_cast<uint8_t>(c[i] | c[i + 16] << 4);
    }
  }
  static int scale_of(const Block& b, int j) noexcept {
    return ((b.scales_low[j / 2] >> (j % 2 * 4) & 15) | (b.scales_high >> (2 * j) & 3) << 4) - 32;
  }
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(scale_of(b, j));
      for (int i = 0; i < 16; ++i) {
        out[32 * j + i] = scale * static_cast<float>(iq4_values[b.q[16 * j + i] & 15]);
        out[32 * j + 16 + i] = scale * static_cast<float>(iq4_values[b.q[16 * j + i] >> 4]);
      }
    }
  }
};

}  // namespace nibble
