#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"

// ggml's i-quants: 256 weights, 4 or 8 at a time one of up to 2048 points of a fixed grid, with signs and
// block scales. Layouts, grids and arithmetic: ggml/src/ggml-common.h and ggml-quants.c. nibble reads them
// only.

namespace nibble {

namespace iq {

#include "formats/iq_tables.inc"

/// Coordinate i of a grid entry with three levels.
inline float level2(uint16_t entry, int i) noexcept {
  constexpr float levels[4] = {8, 25, 43, 0};
  return levels[entry >> (2 * i) & 3];
}
inline float level3_xxs(uint16_t entry, int i) noexcept {
  constexpr float levels[8] = {4, 12, 20, 28, 36, 44, 52, 62};
  return levels[entry >> (3 * i) & 7];
}
inline float level3_s(uint16_t entry, int i) noexcept {
  return static_cast<float>(2 * (entry >> (3 * i) & 7) + 1);
}
/// Coordinate i of an entry of the 1-bit grid: -1, 0 or 1.
inline float level1(uint16_t entry, int i) noexcept { return static_cast<float>((entry >> (2 * i) & 3) - 1); }
/// Eight signs of which seven are stored: the number of minus signs is even.
inline uint32_t even_signs(uint32_t seven) noexcept {
  return seven | static_cast<uint32_t>(std::popcount(seven) & 1) << 7;
}
inline float signed_by(uint32_t signs, int i, float v) noexcept { return (signs >> i & 1) != 0 ? -v : v; }

template <class T>
T little(const uint8_t* p) noexcept {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// Shift of the 1-bit grids' points off the integers.
inline constexpr float delta1 = 0.125f;

constexpr FormatInfo info(std::string_view name, std::string_view summary, int gguf_id, size_t bytes) {
  return {name, "i-quants", summary, gguf_id, 256, bytes, Act::q8_block256, false};
}

}  // namespace iq

/// 2.0625 bits per weight.
struct IQ2_XXS {
  static constexpr FormatInfo info = iq::info("iq2_xxs", "8-point grid of 256, 4-bit scales per 32", 16, 66);
  struct Block {
    uint16_t d;
    uint8_t q[64];  ///< per 32 weights: four grid indices, then four times seven signs and the scale
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int j = 0; j < 8; ++j) {
      const uint8_t* index = b.q + 8 * j;
      const auto tail = iq::little<uint32_t>(index + 4);
      const float scale = d * (0.5f + static_cast<float>(tail >> 28)) * 0.25f;
      for (int k = 0; k < 4; ++k) {
        const uint32_t signs = iq::even_signs(tail >> (7 * k) & 127);
        const uint16_t entry = iq::iq2_xxs_grid[index[k]];
        for (int i = 0; i < 8; ++i) *out++ = iq::signed_by(signs, i, scale * iq::level2(entry, i));
      }
    }
  }
};

/// 2.3125 bits per weight.
struct IQ2_XS {
  static constexpr FormatInfo info = iq::info("iq2_xs", "8-point grid of 512, 4-bit scales per 16", 17, 74);
  struct Block {
    uint16_t d;
    uint16_t q[32];  ///< nine bits of index, seven signs
    uint8_t scales[8];
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 32; ++k) {
      const int nibble = b.scales[k / 4] >> (k / 2 % 2 * 4) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      const uint32_t signs = iq::even_signs(b.q[k] >> 9);
      const uint16_t entry = iq::iq2_xs_grid[b.q[k] & 511];
      for (int i = 0; i < 8; ++i) *out++ = iq::signed_by(signs, i, scale * iq::level2(entry, i));
    }
  }
};

/// 2.5625 bits per weight.
struct IQ2_S {
  static constexpr FormatInfo info = iq::info("iq2_s", "8-point grid of 1024, 4-bit scales per 16", 22, 82);
  struct Block {
    uint16_t d;
    uint8_t index[32];
    uint8_t signs[32];
    uint8_t index_high[8];  ///< bits 2 k: upper bits of the four indices of 32 weights
    uint8_t scales[8];
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 32; ++k) {
      const int nibble = b.scales[k / 4] >> (k / 2 % 2 * 4) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      const int high = b.index_high[k / 4] >> (k % 4 * 2) & 3;
      const uint16_t entry = iq::iq2_s_grid[b.index[k] | high << 8];
      for (int i = 0; i < 8; ++i) *out++ = iq::signed_by(b.signs[k], i, scale * iq::level2(entry, i));
    }
  }
};

/// 3.0625 bits per weight.
struct IQ3_XXS {
  static constexpr FormatInfo info = iq::info("iq3_xxs", "4-point grid of 256, 4-bit scales per 32", 18, 98);
  struct Block {
    uint16_t d;
    uint8_t index[64];
    uint8_t tail[32];  ///< per 32 weights: four times seven signs and the scale
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 32; ++k) {
      const auto tail = iq::little<uint32_t>(b.tail + k / 4 * 4);
      const float scale = d * (0.5f + static_cast<float>(tail >> 28)) * 0.5f;
      const uint32_t signs = iq::even_signs(tail >> (k % 4 * 7) & 127);
      for (int i = 0; i < 8; ++i) {
        const uint16_t entry = iq::iq3_xxs_grid[b.index[2 * k + i / 4]];
        *out++ = iq::signed_by(signs, i, scale * iq::level3_xxs(entry, i % 4));
      }
    }
  }
};

/// 3.4375 bits per weight.
struct IQ3_S {
  static constexpr FormatInfo info = iq::info("iq3_s", "4-point grid of 512, 4-bit scales per 32", 21, 110);
  struct Block {
    uint16_t d;
    uint8_t index[64];
    uint8_t index_high[8];  ///< bit k: ninth bit of index 8 j + k
    uint8_t signs[32];
    uint8_t scales[4];
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 64; ++k) {
      const int nibble = b.scales[k / 16] >> (k / 8 % 2 * 4) & 15;
      const float scale = d * static_cast<float>(1 + 2 * nibble);
      const uint16_t entry = iq::iq3_s_grid[b.index[k] | (b.index_high[k / 8] >> (k % 8) & 1) << 8];
      for (int i = 0; i < 4; ++i) {
        *out++ = iq::signed_by(b.signs[k / 2], k % 2 * 4 + i, scale * iq::level3_s(entry, i));
      }
    }
  }
};

/// 1.5625 bits per weight.
struct IQ1_S {
  static constexpr FormatInfo info = iq::info("iq1_s", "8-point grid of 2048, 3-bit scales per 32", 19, 50);
  struct Block {
    uint16_t d;
    uint8_t index[32];
    uint16_t high[8];  ///< four times three upper bits of an index, the scale, the sign of the shift
  };
  static void decode(const Block& b, float* out) {
    const float d = f16_to_f32(b.d);
    for (int k = 0; k < 32; ++k) {
      const int high = b.high[k / 4];
      const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
      const float delta = (high & 0x8000) != 0 ? -iq::delta1 : iq::delta1;
      const uint16_t entry = iq::iq1_grid[b.index[k] | (high >> (k % 4 * 3) & 7) << 8];
      for (int i = 0; i < 8; ++i) *out++ = scale * (iq::level1(entry, i) + delta);
    }
  }
};

/// 1.75 bits per weight.
struct IQ1_M {
  static constexpr FormatInfo info = iq::info("iq1_m", "8-point grid of 2048, 3-bit scales per 16", 29, 56);
  struct Block {
    uint8_t index[32];
    uint8_t high[16];   ///< nibble k: three upper bits of index k, then the sign of its shift
    uint8_t scales[8];  ///< four words: four 3-bit scales each; the four top nibbles are the f16 scale
  };
  static void decode(const Block& b, float* out) {
    uint16_t words[4];
    std::memcpy(words, b.scales, sizeof words);
    int bits = 0;
    for (int j = 0; j < 4; ++j) bits |= (words[j] >> 12) << (4 * j);
    const float d = f16_to_f32(static_cast<uint16_t>(bits));
    for (int k = 0; k < 32; ++k) {
      const int block = k / 2;  // of 16 weights
      const float scale = d * static_cast<float>(2 * (words[block / 4] >> (block % 4 * 3) & 7) + 1);
      const int high = b.high[k / 2] >> (k % 2 * 4) & 15;
      const float delta = (high & 8) != 0 ? -iq::delta1 : iq::delta1;
      const uint16_t entry = iq::iq1_grid[b.index[k] | (high & 7) << 8];
      for (int i = 0; i < 8; ++i) *out++ = scale * (iq::level1(entry, i) + delta);
    }
  }
};

}  // namespace nibble
