#pragma once

#include "kernels/cpu/kernel.h"

// What inference in whole numbers does to rows, one table per instruction set. These functions execute no
// floating-point instruction: tests/kernels disassembles them. A number is mantissa * 2^exponent with a
// 32-bit mantissa of at most 2^30 in magnitude; "Qn" is a number times 2^n. Every result is the same at every
// level.

namespace nibble {

/// Mantissas are at most 2^mantissa_bits in magnitude.
constexpr int mantissa_bits = 30;
/// Positions whose keys and values stand together in the cache.
constexpr int64_t kv_record = 16;

/// Rows to whole numbers of 8 bits for Int8Kernels::products: round(x * 2^-shift * inverse * 2^-23), where a
/// negative shift is one to the left. |x| * 2^-shift < 2^15 and times inverse at most 127 * 2^23.
struct IntegerRoundTask {
  const int32_t* x;
  int64_t k;
  int shift;
  int32_t inverse;
  int64_t x_bytes;   ///< of Int8Kernels
  int32_t x_offset;  ///< of Int8Kernels
  std::byte* out;    ///< k padded to a multiple of int8_cols
};

/// total[i][j] += sum[i][j] * factors[j] for m tokens and the 16 rows of a panel, where sum is what
/// `products` gave, minus x_offset * code_sums[j] and x_sums[i] * zeros[j].
struct IntegerSumTask {
  const int32_t* sums;
  int64_t m;
  const int32_t* code_sums;
  const int32_t* zeros;  ///< null: none
  const int32_t* factors;
  int32_t x_offset;
  const int32_t* x_sums;  ///< where there are zeros
  int64_t x_sum_stride;
  int64_t* total;
  bool first;  ///< total counts as zero
};

/// How a token's sums become mantissas.
struct IntegerRow {
  int32_t scale = 0;  ///< at most 2^30
  int y_shift = 0, bias_shift = 0;
};

/// y[i][j] = ((total[i][j] * 2^-shift) * scale * 2^-30) * 2^-y_shift + bias[j] * 2^-bias_shift, each shift
/// rounded, for m tokens and n of the 16 rows of a panel. |total| * 2^-shift is at most 2^30; shift in [0,
/// 62].
struct IntegerScaleTask {
  const int64_t* total;
  int64_t m, n;
  int shift;
  const IntegerRow* rows;
  const int32_t* bias;  ///< null: none
  int32_t* y;
  int64_t y_stride;
};

/// y[c] = ((x[c] * 2^left - mean) * inverse * 2^-shift) * gain[c] * 2^-gain_shift + bias[c].
struct IntegerNormTask {
  const int32_t* x;
  int64_t n;
  int left;  ///< negative: to the right
  int32_t mean, inverse;
  int shift, gain_shift;  ///< in [0, 62]
  const int32_t* gain;
  const int32_t* bias;  ///< null: none
  int32_t* y;
};

/// The function that a feed-forward block applies.
enum class IntegerFunction : uint8_t { silu, gelu_tanh, gelu_erf, relu };

/// y[c] = f(x[c]), times other[c] where there is one: x is brought to 2^30 by x_left, and its value is then
/// mantissa * 2^exponent. The result is a mantissa of exponent `exponent` without the other and `exponent` +
/// its own + 30 with it.
struct IntegerActivationTask {
  IntegerFunction function;
  const int32_t* x;
  const int32_t* other;  ///< null: none
  int64_t n;
  int x_left, exponent, other_left;
  int32_t* y;
};

/// y[c] = cap * tanh(x[c] / cap): `turn` is 2 log2(e) / cap as a mantissa of 30 bits with `turn_exponent`,
/// `cap` a mantissa that y has the exponent of.
struct IntegerCapTask {
  const int32_t* x;
  int64_t n;
  int exponent;  ///< of x
  int32_t turn, cap;
  int turn_exponent;
  int32_t* y;
};

/// Turns the heads of a row: y = x * (cosine, sine) * 2^-31, and x * 2^-pass_right where nothing turns.
struct IntegerTurnTask {
  const int32_t* x;
  int64_t cols, head_dim, pairs;
  bool interleaved;
  int pass_right;
  const int32_t *cosines, *sines;
  int32_t* y;
};

/// scores[i][t] = sum over d of q[i][d] * k[t][d] for m queries and records of 16 keys, first to last.
struct IntegerScoreTask {
  const int16_t* q;  ///< [m][dim]
  int64_t m, dim;
  const int16_t* keys;  ///< of the first record: [dim / 2][16][2]
  int64_t record;       ///< int16 from one record to the next
  int64_t records;
  int32_t* scores;  ///< [m][stride]
  int64_t stride;
};

/// Scores of one query to weights in [0, 2^15): softmax of score * scale, times the exponents of the values.
struct IntegerSoftmaxTask {
  int32_t* scores;               ///< overwritten
  int64_t begin, end;            ///< what the query sees; other weights become 0
  int64_t padded;                ///< of weights, a multiple of 16
  const int16_t* key_exponents;  ///< of the head: [16] per record
  const int16_t* value_exponents;
  int64_t record;  ///< int16 from one record to the next
  /// scale * log2(e) as a mantissa of 30 bits, its exponent and that of the query added.
  int32_t scale;
  int exponent;
  /// Of a soft cap: 2 scale log2(e) / cap in the same way, and cap * log2(e) in Q16; 0: none.
  int32_t turn;
  int turn_exponent;
  int32_t cap;
  int16_t* weights;
};
struct IntegerSoftmax {
  uint64_t sum;  ///< of the exponentials, Q31; at least 2^31 minus rounding
  int exponent;  ///< the weighted sum of the values' mantissas is to be multiplied by 2^exponent / sum
};

/// y[i][d] = sum over t of w[i][t] * v[t][d].
struct IntegerMixTask {
  const int16_t* w;  ///< [m][stride]
  int64_t m, stride;
  const int16_t* values;  ///< of the first record and the head: [8][value_cols][2]
  int64_t value_cols;     ///< of a position, all heads
  int64_t record, records;
  int64_t dim;
  int64_t* y;  ///< [m][dim]
};

struct IntegerKernels {
  const char* name;
  uint32_t (*most)(const int32_t* x, int64_t n) noexcept;  ///< the largest magnitude
  void (*round)(const IntegerRoundTask&) noexcept;
  void (*add_sums)(const IntegerSumTask&) noexcept;
  void (*scale_sums)(const IntegerScaleTask&) noexcept;
  int64_t (*sum)(const int32_t* x, int64_t n, int left) noexcept;  ///< of x * 2^left
  /// Sum of (x * 2^left - mean)^2 * 2^-12.
  uint64_t (*squares)(const int32_t* x, int64_t n, int left, int32_t mean) noexcept;
  void (*norm)(const IntegerNormTask&) noexcept;
  void (*activate)(const IntegerActivationTask&) noexcept;
  void (*cap)(const IntegerCapTask&) noexcept;
  void (*turn)(const IntegerTurnTask&) noexcept;
  /// y = a * 2^a_left + b * 2^b_left
  void (*add)(const int32_t* a, int a_left, const int32_t* b, int b_left, int64_t n, int32_t* y) noexcept;
  void (*score)(const IntegerScoreTask&) noexcept;
  IntegerSoftmax (*softmax)(const IntegerSoftmaxTask&) noexcept;
  void (*mix)(const IntegerMixTask&) noexcept;
};

extern const IntegerKernels integer_scalar;
#if defined(__x86_64__)
extern const IntegerKernels integer_avx2;
extern const IntegerKernels integer_avx512;
#elif defined(__aarch64__)
extern const IntegerKernels integer_neon;
#endif

}  // namespace nibble
