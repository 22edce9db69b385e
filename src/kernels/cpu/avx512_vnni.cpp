// AVX-512 with VNNI (byte products), BF16 and VBMI: Ice Lake servers with BF16, Sapphire Rapids, Zen 4.
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

// g++ 12 takes the undefined registers that its own intrinsics start with for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#define LANES 16
#define BLOCK_M 4
#define BLOCK_N 4
#include "kernels/cpu/codes512.inc"
#include "kernels/cpu/dot512.inc"
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/generic.inc"
#include "kernels/cpu/int8.inc"
#include "kernels/cpu/register_tile512.inc"
#include "kernels/cpu/tiles512.inc"

namespace nibble {
namespace {

struct Registers {
  template <int rows, int tokens>
  static NIBBLE_INLINE void start(bool first, float* sums) noexcept {
    if (!first) return;
    for (int64_t i = 0; i < 4 * tile_numbers; i += 16) _mm512_store_ps(sums + i, _mm512_setzero_ps());
  }
  template <int rows, int tokens>
  static NIBBLE_INLINE void add(const uint16_t* w0, const uint16_t* w1, const uint16_t* x0,
                                const uint16_t* x1, int64_t blocks, float* sums) noexcept {
    for (int i = 0; i < tokens; ++i) {
      float* to = sums + 2 * i * tile_numbers;
      if constexpr (rows > 1) {
        two_tiles<true>(w0, w1, i == 0 ? x0 : x1, blocks, to, to + tile_numbers);
      } else {
        tile<true>(w0, i == 0 ? x0 : x1, blocks, to);
      }
    }
  }
  template <int rows, int tokens>
  static NIBBLE_INLINE void finish(float*) noexcept {}
};

void tiles(const TileTask& t) noexcept { multiply_tiles<Registers>(t); }

int64_t peak_bytes(int64_t rounds) noexcept {
  constexpr int chains = 10;
  __m512i sum[chains];
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) {
    sum[i] = _mm512_setzero_si512();
    __asm__ volatile("" : "+v"(sum[i]));  // else all chains would be seen to be one
  }
  __m512i a = byte_mask(3), b = byte_mask(2);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
  }
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) __asm__ volatile("" : : "v"(sum[i]));
  return rounds * chains * 64;
}

template <class F>
constexpr KernelRow rounded(const char* name, const char* format, int64_t multiple) {
  return {name, format, multiple, F::bias, false, nullptr, &dot<F>, &panel<F>};
}
template <class F>
constexpr KernelRow floats(const char* name, const char* format) {
  return {name, format, 1, 0, true, nullptr, &float_dot<F>, &float_panel<F>};
}

constexpr KernelRow rows[] = {
    floats<F16Weight>("f16-avx512", "f16"),
    floats<BF16Weight>("bf16-avx512", "bf16"),
    rounded<Q4_0>("q4_0-vnni", "q4_0", 32),
    rounded<Q4_1>("q4_1-vnni", "q4_1", 32),
    rounded<Q5_0>("q5_0-vnni", "q5_0", 32),
    rounded<Q5_1>("q5_1-vnni", "q5_1", 32),
    rounded<Q8_0>("q8_0-vnni", "q8_0", 32),
    rounded<Q2_K>("q2_k-vnni", "q2_k", 256),
    rounded<Q3_K>("q3_k-vnni", "q3_k", 256),
    rounded<Q4_K>("q4_k-vnni", "q4_k", 256),
    rounded<Q5_K>("q5_k-vnni", "q5_k", 256),
    rounded<Q6_K>("q6_k-vnni", "q6_k", 256),
    rounded<IQ4_NL>("iq4_nl-vnni", "iq4_nl", 32),
    rounded<IQ4_XS>("iq4_xs-vnni", "iq4_xs", 256),
    rounded<Int4G128>("int4:g128-vnni", "int4:g128", 128),
    rounded<Nf4B64>("nf4:b64-vnni", "nf4:b64", 64),
    {"f32-avx512", nullptr, 1, 0, false, &products, nullptr, nullptr},
};

}  // namespace

void round_rows_vnni(const RoundTask& t) noexcept { round_rows(t); }
void int8_products_vnni(const Int8ProductTask& t) noexcept { int8_products(t); }

extern const CpuKernels cpu_avx512_vnni = {rows,
                                           sizeof rows / sizeof rows[0],
                                           &products,
                                           sum_kernels<false>(),
                                           sum_kernels<true>(),
                                           &read_bytes,
                                           {&peak_bytes, "byte products and sums"},
                                           &round_rows,
                                           &pack_rows,
                                           &pack_tokens,
                                           {&tiles, "tiles-avx512", 16, tiles_never},
                                           int8_kernels("int8-vnni"),
                                           elementwise_kernels()};

}  // namespace nibble

#endif
