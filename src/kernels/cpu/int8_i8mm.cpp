// Products of whole numbers of 8 bits for AArch64 with matrix products of bytes: eight columns of two tokens
// with those of two rows, whose words are put side by side as they are loaded.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#include "kernels/cpu/int8_dots128.inc"

namespace nibble {
namespace {

constexpr int pair_tokens = 8, pair_rows = 8;

// Eight columns of eight rows, two in a register, with those of eight tokens. Of the last ones there may be
// four.
template <bool whole>
NIBBLE_INLINE void add_eight_columns(int32x4_t (*sum)[pair_tokens / 2], const int8_t* w, const int8_t* x,
                                     int64_t x_stride) noexcept {
  int8x16_t q[pair_tokens / 2];
#pragma GCC unroll 4
  for (int t = 0; t < pair_tokens / 2; ++t) {
    const int8_t *first = x + 2 * t * x_stride, *second = first + x_stride;
    if constexpr (whole) {
      q[t] = vcombine_s8(vld1_s8(first), vld1_s8(second));
    } else {
      uint32_t a, b;
      __builtin_memcpy(&a, first, sizeof a);
      __builtin_memcpy(&b, second, sizeof b);
      q[t] = vcombine_s8(vcreate_s8(a), vcreate_s8(b));
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < pair_rows / 4; ++r) {
    const int32x4_t low = vreinterpretq_s32_s8(vld1q_s8(w + 16 * r));
    const int32x4_t high =
        whole ? vreinterpretq_s32_s8(vld1q_s8(w + 4 * int8_rows + 16 * r)) : vdupq_n_s32(0);
    const int8x16_t rows[2] = {vreinterpretq_s8_s32(vzip1q_s32(low, high)),
                               vreinterpretq_s8_s32(vzip2q_s32(low, high))};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 4
      for (int t = 0; t < pair_tokens / 2; ++t)
        sum[2 * r + h][t] = vmmlaq_s32(sum[2 * r + h][t], q[t], rows[h]);
    }
  }
}

// Eight tokens with rows [row, row + 8) of a panel.
NIBBLE_INLINE void int8_pairs(const Int8ProductTask& t, int64_t panel, int64_t token, int64_t row) noexcept {
  const auto* x = reinterpret_cast<const int8_t*>(t.x + token * t.x_stride);
  const int8_t* codes = t.w + panel * t.w_stride + 4 * row;
  int32x4_t sum[pair_rows / 2][pair_tokens / 2] = {};
  int64_t c = 0;
  for (; c + 8 <= t.k; c += 8) add_eight_columns<true>(sum, codes + c * int8_rows, x + c, t.x_stride);
  if (c < t.k) add_eight_columns<false>(sum, codes + c * int8_rows, x + c, t.x_stride);
  int32_t* sums = t.sums + (panel * int8_padded(t.m) + token) * int8_rows + row;
#pragma GCC unroll 4
  for (int i = 0; i < pair_tokens / 2; ++i) {
#pragma GCC unroll 2
    for (int r = 0; r < pair_rows / 4; ++r) {
      const int64x2_t a = vreinterpretq_s64_s32(sum[2 * r][i]), b = vreinterpretq_s64_s32(sum[2 * r + 1][i]);
      int32_t* to = sums + 2 * i * int8_rows + 4 * r;
      vst1q_s32(to, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
      vst1q_s32(to + int8_rows, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
    }
  }
}

}  // namespace

void int8_products_i8mm(const Int8ProductTask& t) noexcept {
  for (int64_t p = 0; p < t.panels; ++p) {
    int64_t i = 0;
    for (; i + pair_tokens <= t.m; i += pair_tokens) {
      for (int64_t row = 0; row < int8_rows; row += pair_rows) int8_pairs(t, p, i, row);
    }
    int8_dot_rows(t, p, i);
  }
}

}  // namespace nibble

#endif
