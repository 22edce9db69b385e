// Attention of many queries by AVX-512 with BF16: as with AMX, a tile's product in registers.
#include "kernels/attend.h"

#if defined(__x86_64__)

// g++ 12 takes the undefined registers that its own intrinsics start with for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#define NIBBLE_INLINE inline __attribute__((always_inline))
#include "kernels/cpu/attend.inc"
#include "kernels/cpu/register_tile512.inc"

namespace nibble {
namespace {

struct RegisterAttention {
  static constexpr int64_t groups = 2;
  static NIBBLE_INLINE void scores(const uint16_t* k, const uint16_t* q, int64_t columns, int64_t count,
                                   float* out) noexcept {
    for (int64_t i = 0; i < 4; ++i) {
      const uint16_t* keys = k + 512 * i * columns;
      if (count > 1) {
        two_tiles<false>(q, q + 512 * columns, keys, columns, out + 256 * i, out + key_block * 16 + 256 * i);
      } else {
        tile<false>(q, keys, columns, out + 256 * i);
      }
    }
  }
  static NIBBLE_INLINE void add_values(float* sum, const uint16_t* p, const uint16_t* v,
                                       int64_t tiles) noexcept {
    for (int64_t c = 0; c < tiles; c += 2)
      two_tiles<true>(v + 1024 * c, v + 1024 * (c + 1), p, 2, sum + 256 * c, sum + 256 * (c + 1));
  }
};

// --- pages of 64 keys (kernels/kv/) as tiles, for AMX as well

NIBBLE_INLINE __m512 half_lanes(const uint16_t* p) noexcept {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
NIBBLE_INLINE __m128i load128(const uint8_t* p) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
NIBBLE_INLINE __m512 all_of(uint16_t half) noexcept { return _mm512_set1_ps(_cvtsh_ss(half)); }

// A page has: `columns(page, d, g, c, low, high)`: column pairs (2 i, 2 i + 1) from 32 c on of the keys from
// 16 g on, 16 of each; `values(page, d, r, c)`: the columns from 16 c on of key r.
struct HalfPage {
  static NIBBLE_INLINE void columns(const std::byte* page, int64_t d, int64_t g, int64_t c, __m512* low,
                                    __m512* high) noexcept {
    const auto* at = reinterpret_cast<const uint16_t*>(page) + 16 * (g * d + 32 * c);
    for (int64_t i = 0; i < 16; ++i) {
      low[i] = half_lanes(at + 32 * i);
      high[i] = half_lanes(at + 32 * i + 16);
    }
  }
  static NIBBLE_INLINE __m512 values(const std::byte* page, int64_t d, int64_t r, int64_t c) noexcept {
    return half_lanes(reinterpret_cast<const uint16_t*>(page) + r * d + 16 * c);
  }
};

// Scales of [d / 32][64 keys], then codes.
NIBBLE_INLINE const uint16_t* scales_of(const std::byte* page, int64_t block) noexcept {
  return reinterpret_cast<const uint16_t*>(page) + block * key_block;
}
NIBBLE_INLINE const uint8_t* codes_of(const std::byte* page, int64_t d) noexcept {
  return reinterpret_cast<const uint8_t*>(page) + d / 32 * key_block * 2;
}
// Byte `at` of each word as a signed number.
NIBBLE_INLINE __m512 signed_byte(__m512i words, int at) noexcept {
  return _mm512_cvtepi32_ps(
      _mm512_srai_epi32(_mm512_slli_epi32(words, static_cast<unsigned>(24 - 8 * at)), 24));
}

// Four columns in a word, times their scale, as two pairs.
NIBBLE_INLINE void two_pairs(__m512 scale, __m512i four, __m512* low, __m512* high) noexcept {
  low[0] = _mm512_mul_ps(scale, signed_byte(four, 0));
  high[0] = _mm512_mul_ps(scale, signed_byte(four, 1));
  low[1] = _mm512_mul_ps(scale, signed_byte(four, 2));
  high[1] = _mm512_mul_ps(scale, signed_byte(four, 3));
}

struct BytePage {
  static NIBBLE_INLINE void columns(const std::byte* page, int64_t d, int64_t g, int64_t c, __m512* low,
                                    __m512* high) noexcept {
    const uint8_t* at = codes_of(page, d) + (g * (d / 4) + 8 * c) * 64;
    const __m512 scale = half_lanes(scales_of(page, c) + 16 * g);
    for (int64_t i = 0; i < 16; i += 2) two_pairs(scale, _mm512_loadu_si512(at + 32 * i), low + i, high + i);
  }
  static NIBBLE_INLINE __m512 values(const std::byte* page, int64_t d, int64_t r, int64_t c) noexcept {
    const __m512i codes = _mm512_cvtepi8_epi32(load128(codes_of(page, d) + r * d + 16 * c));
    return _mm512_mul_ps(all_of(scales_of(page, c / 2)[r]), _mm512_cvtepi32_ps(codes));
  }
};

// Blocks of 32 columns: low halves are the first 16 of keys, and of values the even ones of two keys.
struct NibblePage {
  static NIBBLE_INLINE void columns(const std::byte* page, int64_t d, int64_t g, int64_t c, __m512* low,
                                    __m512* high) noexcept {
    const uint8_t* at = codes_of(page, d) + (g * (d / 8) + 4 * c) * 64;
    const __m512 scale = half_lanes(scales_of(page, c) + 16 * g);
    for (int64_t i = 0; i < 8; i += 2) {
      const __m512i both = _mm512_loadu_si512(at + 32 * i), fifteen = _mm512_set1_epi8(15);
      for (int64_t half = 0; half < 2; ++half) {
        const __m512i codes = _mm512_and_si512(half == 0 ? both : _mm512_srli_epi32(both, 4), fifteen);
        const int64_t to = 8 * half + i;
        two_pairs(scale, _mm512_sub_epi8(codes, _mm512_set1_epi8(8)), low + to, high + to);
      }
    }
  }
  static NIBBLE_INLINE __m512 values(const std::byte* page, int64_t d, int64_t r, int64_t c) noexcept {
    const __m512i both = _mm512_cvtepu8_epi32(load128(codes_of(page, d) + r / 2 * d + 16 * c));
    const __m512i codes =
        r % 2 == 0 ? _mm512_and_si512(both, _mm512_set1_epi32(15)) : _mm512_srli_epi32(both, 4);
    return _mm512_mul_ps(all_of(scales_of(page, c / 2)[r]),
                         _mm512_cvtepi32_ps(_mm512_sub_epi32(codes, _mm512_set1_epi32(8))));
  }
};

// Keys that do not exist are zeros.
template <class Page>
void load_keys(const std::byte* page, int64_t n, int64_t d, uint16_t* out) noexcept {
  for (int64_t g = 0; g < 4; ++g) {
    const int64_t exist = n - 16 * g;
    const auto mask = static_cast<__mmask16>(exist >= 16 ? 0xffff : exist <= 0 ? 0 : (1u << exist) - 1);
    for (int64_t c = 0; c < d / 32; ++c, out += 512) {
      __m512 low[16], high[16];
      Page::columns(page, d, g, c, low, high);
      __m512i v[16];
      for (int64_t i = 0; i < 16; ++i)
        v[i] = pairs(_mm512_maskz_mov_ps(mask, low[i]), _mm512_maskz_mov_ps(mask, high[i]));
      transpose(v);
      for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(out + 32 * i, v[i]);
    }
  }
}

template <class Page>
void load_values(const std::byte* page, int64_t n, int64_t d, uint16_t* out) noexcept {
  const __m512 zero = _mm512_setzero_ps();
  for (int64_t r = 0; r < key_block; r += 2) {
    uint16_t* to = out + r / 32 * 512 + r % 32 / 2 * 32;
    for (int64_t c = 0; c < d / 16; ++c) {
      const __m512 low = r < n ? Page::values(page, d, r, c) : zero;
      const __m512 high = r + 1 < n ? Page::values(page, d, r + 1, c) : zero;
      _mm512_store_si512(to + 1024 * c, pairs(low, high));
    }
  }
}

void attend(const AttendTask& t, LoadTiles keys, LoadTiles values) noexcept {
  AttendBuffers buffers;
  attend_pages<RegisterAttention>(t, keys, values, buffers);
}

}  // namespace

void (*const avx512_attend_tiles)(const AttendTask&, LoadTiles, LoadTiles) noexcept = &attend;

const TilePage avx512_tile_pages[] = {
    {"f16", &load_keys<HalfPage>, &load_values<HalfPage>},
    {"q8_0", &load_keys<BytePage>, &load_values<BytePage>},
    {"q4_0", &load_keys<NibblePage>, &load_values<NibblePage>},
};
const int avx512_tile_page_count = sizeof avx512_tile_pages / sizeof avx512_tile_pages[0];

}  // namespace nibble

#endif
