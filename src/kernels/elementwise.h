#pragma once

#include <cstdint>

namespace nibble {

enum class ActivationKind : uint8_t { silu, gelu_tanh, gelu_erf, relu };

/// y[i] = act(x[i]), times times[i] unless that is null; y may be x. The same bits at every level.
void activate(ActivationKind kind, const float* x, const float* times, float* y, int64_t n) noexcept;

/// y[i] = e^(x[i] - minus) within 2 units in the last place for differences in [-87, 88]; 0 below, saturates
/// at e^88 above; NaN stays NaN. y may be x. The same bits at every level.
void exponentials(const float* x, float minus, float* y, int64_t n) noexcept;

/// Rows of `width` divided by their root mean square (after their mean is taken away, if `center`), times
/// scale, plus bias. Sums in double, in a fixed order: the same bits at every level.
struct NormTask {
  const float* x;
  int64_t rows, width;
  bool center;
  double eps;
  const float *scale, *bias;    ///< bias: may be null
  float* y;                     ///< may be x
  const float* plus = nullptr;  ///< null, or what is added to x before
  float* sum = nullptr;         ///< null, or where x + plus is wanted; may be x or plus
};
void normalize(const NormTask& task) noexcept;

/// Of n columns of x [rows, stride]: adds their sums and sums of squares in double, row after row, to `sum`
/// and `sum2`, and widens [low, high] to their ends, to which NaN counts as nothing. The same bits at every
/// level.
struct ColumnsTask {
  const float* x;
  int64_t rows, stride, n;
  double *sum, *sum2;
  float *low, *high;
};
void see_columns(const ColumnsTask& task) noexcept;

}  // namespace nibble
