#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/integer.h"
#include "kernels/int8_matmul.h"

namespace nibble {

/// The kernels of the level in use for rows of whole numbers.
const IntegerKernels& integer_kernels();
const IntegerKernels& integer_kernels(IsaLevel level);

/// Rows [first, first + n) of a matrix and their bias for products without floating point: 8-bit codes as
/// Int8Matrix packs them, and every scale as a mantissa of 30 bits with one exponent for the matrix.
class IntegerMatrix {
 public:
  /// The matrix must be Int8Matrix::possible. `bias` has n values, or none. Throws Error{bad_input} for a
  /// scale or bias that is not finite, Error{unsupported} for rows too long to be summed.
  IntegerMatrix(const Matrix& w, int64_t first, int64_t n, std::span<const float> bias, ThreadPool& pool);

  int64_t rows() const noexcept { return codes_.rows(); }
  int64_t cols() const noexcept { return codes_.cols(); }

 private:
  friend class IntegerProduct;

  void bound_totals(const std::string& name);

  Int8Matrix codes_;
  std::vector<int32_t> factors_;  ///< as codes_.scales_: [panel][group][16]
  int exponent_ = 0;              ///< of factors_, and 1 / 127 in them
  int shift_ = 0;                 ///< brings the largest possible total to 30 bits
  std::vector<int32_t> bias_;     ///< empty: none
  int bias_exponent_ = 0;
};

/// y = x W^T + b in whole numbers. x is m rows of mantissas, cols() each, of the given exponents; y is m rows
/// of rows() mantissas. Each row of x is rounded to 8 bits of its own largest magnitude; sums are exact. The
/// result has the same bits at every level and for every number of threads, and is wrong by no more than
/// those roundings of 8 bits and 2^-28 of the largest possible result of the row.
void integer_matmul(const IntegerMatrix& w, const int32_t* x, const int32_t* x_exponents, int64_t m,
                    int32_t* y, int32_t* y_exponents, ThreadPool& pool);

}  // namespace nibble
