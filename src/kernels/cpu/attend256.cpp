// Attention by AVX2 with FMA and F16C.
#include "kernels/attend.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 8
#define ACCUMULATORS 8
#define NIBBLE_INLINE inline __attribute__((always_inline))

namespace nibble {
namespace {

typedef float Vec __attribute__((vector_size(32)));
using Words = __m256i;

NIBBLE_INLINE Words all_words(int32_t x) noexcept { return _mm256_set1_epi32(x); }
NIBBLE_INLINE __m256i load256(const uint8_t* p) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

NIBBLE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) noexcept { return _mm256_fmadd_ps(a, b, c); }
NIBBLE_INLINE Vec to_floats(__m256i v) noexcept { return _mm256_cvtepi32_ps(v); }
NIBBLE_INLINE float sum_of_lanes(Vec v) noexcept {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
NIBBLE_INLINE float largest(Vec v) noexcept {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

NIBBLE_INLINE __m128i low_half(const void* p) noexcept {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
NIBBLE_INLINE Vec half_lanes(const uint16_t* p) noexcept {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
NIBBLE_INLINE Vec byte_lanes(const uint8_t* p) noexcept {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low_half(p)));
}
// Low halves to v[0], high ones to v[1].
NIBBLE_INLINE void nibble_lanes(const uint8_t* p, Vec* v) noexcept {
  const __m256i codes = _mm256_cvtepu8_epi32(low_half(p)), eight = _mm256_set1_epi32(8);
  v[0] = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_and_si256(codes, _mm256_set1_epi32(15)), eight));
  v[1] = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(codes, 4), eight));
}

NIBBLE_INLINE __m256i add_pairs(__m256i sum, __m256i pairs) noexcept {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Codes of four columns in each lane. Sums of two byte products must fit 16 bits: magnitudes meet queries
// that carry the sign.
constexpr int32_t signed_bias = 0;
struct SignedCodes {
  __m256i v, magnitude;
  NIBBLE_INLINE explicit SignedCodes(const uint8_t* p) noexcept
      : v(load256(p)), magnitude(_mm256_abs_epi8(v)) {}
  NIBBLE_INLINE __m256i dot(__m256i sum, int32_t q) const noexcept {
    return add_pairs(sum, _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(_mm256_set1_epi32(q), v)));
  }
};
// Codes below 16, two in a byte.
struct SmallCodes {
  __m256i v;
  NIBBLE_INLINE static SmallCodes low(const uint8_t* p) noexcept {
    return {_mm256_and_si256(load256(p), _mm256_set1_epi8(15))};
  }
  NIBBLE_INLINE static SmallCodes high(const uint8_t* p) noexcept {
    return {_mm256_and_si256(_mm256_srli_epi16(load256(p), 4), _mm256_set1_epi8(15))};
  }
  NIBBLE_INLINE __m256i dot(__m256i sum, int32_t q) const noexcept {
    return add_pairs(sum, _mm256_maddubs_epi16(v, _mm256_set1_epi32(q)));
  }
};

}  // namespace
}  // namespace nibble

#include "kernels/cpu/attend_task.inc"

namespace nibble {

const AttendKernels avx2_attend{attend_keys,   sizeof attend_keys / sizeof attend_keys[0],
                                attend_values, sizeof attend_values / sizeof attend_values[0],
                                &attend_pages, nullptr};

}  // namespace nibble

#endif
