// Attention by AVX-512 with VNNI.
#include "kernels/attend.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 16
#define ACCUMULATORS 16
#define NIBBLE_INLINE inline __attribute__((always_inline))

namespace nibble {
namespace {

typedef float Vec __attribute__((vector_size(64)));
using Words = __m512i;

NIBBLE_INLINE Words all_words(int32_t x) noexcept { return _mm512_set1_epi32(x); }
NIBBLE_INLINE __m512i all_bytes(int x) noexcept { return _mm512_set1_epi8(static_cast<char>(x)); }
NIBBLE_INLINE __m128i load128(const uint8_t* p) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

NIBBLE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) noexcept { return _mm512_fmadd_ps(a, b, c); }
NIBBLE_INLINE Vec to_floats(__m512i v) noexcept { return _mm512_cvtepi32_ps(v); }
NIBBLE_INLINE float largest(Vec v) noexcept { return _mm512_reduce_max_ps(v); }
NIBBLE_INLINE float sum_of_lanes(Vec v) noexcept { return _mm512_reduce_add_ps(v); }

NIBBLE_INLINE Vec half_lanes(const uint16_t* p) noexcept {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
NIBBLE_INLINE Vec byte_lanes(const uint8_t* p) noexcept {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(p)));
}
// Low halves to v[0], high ones to v[1].
NIBBLE_INLINE void nibble_lanes(const uint8_t* p, Vec* v) noexcept {
  const __m512i codes = _mm512_cvtepu8_epi32(load128(p)), eight = _mm512_set1_epi32(8);
  v[0] = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_and_si512(codes, _mm512_set1_epi32(15)), eight));
  v[1] = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(codes, 4), eight));
}

// Codes of four columns in each lane. The byte product takes unsigned ones: 128 is added and taken off again
// by what the sum starts with.
constexpr int32_t signed_bias = -128;
struct SignedCodes {
  __m512i v;
  NIBBLE_INLINE explicit SignedCodes(const uint8_t* p) noexcept
      : v(_mm512_xor_si512(_mm512_loadu_si512(p), all_bytes(0x80))) {}
  NIBBLE_INLINE __m512i dot(__m512i sum, int32_t q) const noexcept {
    return _mm512_dpbusd_epi32(sum, v, _mm512_set1_epi32(q));
  }
};
// Codes below 16, two in a byte.
struct SmallCodes {
  __m512i v;
  NIBBLE_INLINE static SmallCodes low(const uint8_t* p) noexcept {
    return {_mm512_and_si512(_mm512_loadu_si512(p), all_bytes(15))};
  }
  NIBBLE_INLINE static SmallCodes high(const uint8_t* p) noexcept {
    return {_mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), all_bytes(15))};
  }
  NIBBLE_INLINE __m512i dot(__m512i sum, int32_t q) const noexcept {
    return _mm512_dpbusd_epi32(sum, v, _mm512_set1_epi32(q));
  }
};

}  // namespace
}  // namespace nibble

#include "kernels/cpu/attend_task.inc"

namespace nibble {

const AttendKernels avx512_attend{attend_keys,   sizeof attend_keys / sizeof attend_keys[0],
                                  attend_values, sizeof attend_values / sizeof attend_values[0],
                                  &attend_pages, nullptr};

}  // namespace nibble

#endif
