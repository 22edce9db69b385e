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
  static NIBBLE_INLINE void scores(const uint16_t* k, const uint16_t* q, int64_t columns,
                                   float* out) noexcept {
    for (int64_t i = 0; i < key_block * 16; i += 16) _mm512_store_ps(out + i, _mm512_setzero_ps());
    for (int64_t g = 0; g < 4; ++g) tile(q, k + 512 * g * columns, columns, out + 256 * g);
  }
  static NIBBLE_INLINE void add_values(float* sum, const uint16_t* p, const uint16_t* v,
                                       int64_t tiles) noexcept {
    for (int64_t c = 0; c < tiles; ++c) tile(v + 1024 * c, p, 2, sum + 256 * c);
  }
};

void attend(const AttendTask& t) noexcept {
  AttendBuffers buffers;
  attend_pages<RegisterAttention>(t, buffers);
}

}  // namespace

void (*const avx512_attend_tiles)(const AttendTask&) noexcept = &attend;

}  // namespace nibble

#endif
