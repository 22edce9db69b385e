// AVX2 with FMA, F16C and BMI2: what every x86 processor since 2013 has.
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 8
#define BLOCK_M 2
#define BLOCK_N 2
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/generic.inc"
#define ENCODE_TABLE encode_avx2
#include "kernels/cpu/encode.inc"
#include "kernels/cpu/int8.inc"
#define WIDEN_TABLE widen_avx2
#include "kernels/cpu/widen.inc"
// What follows uses what stands above.
#include "kernels/cpu/codes256.inc"
#include "kernels/cpu/rounded256.inc"

namespace nibble {
namespace {

// --- rounding activations

void round_rows(const RoundTask& t) noexcept {
  each_block<RoundedUnit>(
      t, [&](const Block32& x, RoundedUnit& out, int64_t block) __attribute__((always_inline)) {
        __m256i q[4];
        const float scale = round_block(x, q);
        const __m256i bytes = to_bytes(q), fours = sums_of_four(bytes);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q + 32 * block), bytes);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.bias + 8 * block),
                            _mm256_mullo_epi32(fours, _mm256_set1_epi32(-t.bias)));
        const __m128i sums = sum_words(fours);
        const int32_t sum[2] = {_mm_cvtsi128_si32(sums), _mm_extract_epi32(sums, 1)};
        for (int64_t half = 0; half < 2; ++half) {
          out.start[2 * block + half] = -t.bias * sum[half];
          out.scale[2 * block + half] = scale;
          out.sum[2 * block + half] = scale * static_cast<float>(sum[half]);
        }
      });
}

// --- products with rows in their own format

template <class F>
NIBBLE_INLINE Unit<F::planes> unit_at(const DotTask& t, int64_t row, int64_t unit) noexcept {
  Unit<F::planes> u;
#pragma GCC unroll 4
  for (int p = 0; p < F::planes; ++p)
    u.plane[p] =
        reinterpret_cast<Bytes>(t.planes[p]) + row * (t.k * F::bytes[p] / unit_weights) + unit * F::bytes[p];
  return u;
}

template <class F>
NIBBLE_INLINE __m256i dot_bytes(__m256i codes, __m256i q) noexcept {
  const __m256i pairs = F::is_signed
                            ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(q, codes))
                            : _mm256_maddubs_epi16(codes, q);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

template <class F, int M>
NIBBLE_INLINE void add_unit(const Unit<F::planes>& u, const RoundedUnit* const* x, int64_t unit,
                            __m256* sum) noexcept {
  Groups scale, offset;
  F::scales(u, scale, offset);
  __m256 both[M][2];
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) {
    const RoundedUnit& a = x[i][unit];
    both[i][0] = _mm256_mul_ps(scale.low, _mm256_loadu_ps(a.scale));
    both[i][1] = _mm256_mul_ps(scale.high, _mm256_loadu_ps(a.scale + 8));
    if constexpr (F::offset) {
      sum[i] = _mm256_fnmadd_ps(offset.low, _mm256_loadu_ps(a.sum), sum[i]);
      sum[i] = _mm256_fnmadd_ps(offset.high, _mm256_loadu_ps(a.sum + 8), sum[i]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < 8; ++c) {
    const __m256i codes = F::codes(u, c);
    const int g = c % 4 * 2;
    const __m256i lanes_of = _mm256_setr_epi32(g, g, g, g, g + 1, g + 1, g + 1, g + 1);
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) {
      const RoundedUnit& a = x[i][unit];
      __m256i dot = dot_bytes<F>(codes, load256(reinterpret_cast<Bytes>(a.q) + 32 * c));
      if constexpr (F::bias != 0)
        dot = _mm256_add_epi32(dot, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a.bias + 8 * c)));
      sum[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_permutevar8x32_ps(both[i][c / 4], lanes_of),
                               sum[i]);
    }
  }
}

NIBBLE_INLINE float sum_of(__m256 v) noexcept {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <class F, int M>
NIBBLE_INLINE void dot_rows(const DotTask& t, int64_t token) noexcept {
  const int64_t whole = t.k / unit_weights, rest = t.k % unit_weights, units = whole + (rest != 0);
  const RoundedUnit* x[M];
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) x[i] = static_cast<const RoundedUnit*>(t.x) + (token + i) * units;
  for (int64_t j = 0; j < t.n; ++j) {
    __m256 sum[M];
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) sum[i] = _mm256_setzero_ps();
    for (int64_t unit = 0; unit < whole; ++unit)
      add_unit<F, M>(unit_at<F>(t, t.first + j, unit), x, unit, sum);
    if (rest != 0) {
      // Zeros after what is left; the activations they meet are zero.
      alignas(32) uint8_t bytes[F::planes][384] = {};
      Unit<F::planes> u = unit_at<F>(t, t.first + j, whole);
      for (int p = 0; p < F::planes; ++p) {
        __builtin_memcpy(bytes[p], u.plane[p], static_cast<size_t>(rest * F::bytes[p] / unit_weights));
        u.plane[p] = bytes[p];
      }
      add_unit<F, M>(u, x, whole, sum);
    }
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) t.y[(token + i) * t.y_stride + j] = sum_of(sum[i]);
  }
}

template <class F>
void dot(const DotTask& t) noexcept {
  int64_t i = 0;
  for (; i + 4 <= t.m; i += 4) dot_rows<F, 4>(t, i);
  for (; i < t.m; ++i) dot_rows<F, 1>(t, i);
}

// Byte products, as many as 16 bits hold added up in them: what kernels of small codes do.
int64_t peak_bytes(int64_t rounds) noexcept {
  constexpr int chains = 8;
  __m256i sum[chains];
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) {
    sum[i] = _mm256_setzero_si256();
    __asm__ volatile("" : "+x"(sum[i]));  // else all chains would be seen to be one
  }
  __m256i a = byte_mask(3), b = byte_mask(2);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) {
      __asm__ volatile("" : "+x"(a), "+x"(b));  // else all products would be seen to be one
      sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(a, b));
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) __asm__ volatile("" : : "x"(sum[i]));
  return rounds * chains * 32;
}

template <class F>
constexpr KernelRow rounded(const char* name, const char* format, int64_t multiple) {
  return {name, format, multiple, F::bias, false, nullptr, &dot<F>, nullptr};
}

constexpr KernelRow rows[] = {
    rounded<Q4_0>("q4_0-avx2", "q4_0", 32),
    rounded<Q4_1>("q4_1-avx2", "q4_1", 32),
    rounded<Q5_0>("q5_0-avx2", "q5_0", 32),
    rounded<Q5_1>("q5_1-avx2", "q5_1", 32),
    rounded<Q8_0>("q8_0-avx2", "q8_0", 32),
    rounded<Q2_K>("q2_k-avx2", "q2_k", 256),
    rounded<Q3_K>("q3_k-avx2", "q3_k", 256),
    rounded<Q4_K>("q4_k-avx2", "q4_k", 256),
    rounded<Q5_K>("q5_k-avx2", "q5_k", 256),
    rounded<Q6_K>("q6_k-avx2", "q6_k", 256),
    rounded<IQ4_NL>("iq4_nl-avx2", "iq4_nl", 32),
    rounded<IQ4_XS>("iq4_xs-avx2", "iq4_xs", 256),
    rounded<Int4G128>("int4:g128-avx2", "int4:g128", 128),
    {"f32-avx2", nullptr, 1, 0, false, &products, nullptr, nullptr},
};

}  // namespace

const CpuKernels cpu_avx2 = {rows,
                             sizeof rows / sizeof rows[0],
                             &products,
                             sum_kernels<false>(),
                             sum_kernels<true>(),
                             &read_bytes,
                             {&peak_bytes, "byte products and 16-bit sums"},
                             &round_rows,
                             nullptr,
                             nullptr,
                             {},
                             int8_kernels("int8-avx2"),
                             elementwise_kernels()};

}  // namespace nibble

#endif
