#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/matmul.h"

namespace nibble {

/// Which whole numbers stand for activations: x = (q - zero) * scale.
struct ActivationGrid {
  enum class Range : uint8_t {
    token,   ///< of each row by itself
    tensor,  ///< of all rows that are multiplied together
    fixed    ///< [low, high], which what lies outside is clipped to
  };

  int bits = 8;             ///< 2 to 8
  bool asymmetric = false;  ///< zero at the place that uses all numbers; else 0, and as many above as below
  Range range = Range::token;
  float low = 0, high = 0;  ///< of Range::fixed; 0 lies between
  /// Activations of a larger magnitude are left out of the range and multiplied in floats (LLM.int8(), arXiv
  /// 2208.07339, which takes whole columns where one token has such a value; here it is each token by
  /// itself, so that a token's result does not depend on the others of the batch).
  float outliers = std::numeric_limits<float>::infinity();

  bool operator==(const ActivationGrid&) const = default;
};

/// Rows [first, first + n) of a matrix as products of whole numbers read them: codes of 8 bits in the order
/// that the kernels of the level in use want, beside scales and zeros for each group. In memory only, a byte
/// a weight.
class Int8Matrix {
 public:
  /// Whether the format's weights are whole numbers times a scale, with groups that kernels can sum.
  static bool possible(const Matrix& w) { return possible(w.tensor().format, w.tensor().shape); }
  static bool possible(const FormatSpec& format, const Shape& shape);
  /// The matrix must be possible; the codes stand in `memory`, which many may share, or in memory of their
  /// own. Throws Error{internal} for rows it does not have, std::bad_alloc.
  Int8Matrix(const Matrix& w, int64_t first, int64_t n, ThreadPool& pool, HugeMemory* memory = nullptr);

  int64_t rows() const noexcept { return rows_; }
  int64_t cols() const noexcept { return cols_; }
  /// Whether both read rounded activations in the same way.
  bool reads_like(const Int8Matrix& other) const noexcept {
    return kernels_ == other.kernels_ && cols_ == other.cols_ && group_ == other.group_ &&
           zeros_ == other.zeros_;
  }

 private:
  friend class RoundedInput;
  friend class Int8Product;
  friend class IntegerMatrix;
  friend class IntegerProduct;

  /// From panel p on.
  const int8_t* panel(int64_t p) const noexcept;

  const Int8Kernels* kernels_;
  int64_t rows_, cols_, group_, groups_;
  bool zeros_;
  // By panel of 16 rows: [padded cols of all groups / adjacent][16][adjacent], and [groups][16] of the
  // others.
  std::shared_ptr<std::byte> codes_;
  std::vector<float> scales_;
  std::vector<int32_t> zero_, sums_;  ///< zeros; sums of codes
};

/// One of several products of the same x: y[i][j] = act(sum over k of x[i][k] * w[j][k] + bias[j]).
struct Int8Part {
  const Int8Matrix* w;
  const float* bias;  ///< null: none
  float* y;
  int64_t y_stride;                          ///< from row to row
  std::optional<ActivationKind> activation;  ///< none: the sums themselves
};

/// Activations, x [m, cols], are rounded to the grid, sums of each group are exact whole numbers, and what
/// follows has a fixed order, so the result has the same bits at every level and for every number of threads.
/// A row of x with NaN or infinity gives NaN or infinity. All matrices must read x alike (reads_like()): it
/// is rounded once.
void int8_matmul(std::span<const Int8Part> parts, const ActivationGrid& grid, const float* x, int64_t m,
                 ThreadPool& pool);
/// One of them.
void int8_matmul(const Int8Matrix& w, const ActivationGrid& grid, const float* x, int64_t m,
                 const float* bias, float* y, int64_t y_stride, ThreadPool& pool);

/// x [m, k] to the values that its numbers on the grid stand for, outliers as they are: what any product can
/// take for weights that are no whole numbers. Rows with NaN or infinity become NaN.
void round_to_grid(const ActivationGrid& grid, const float* x, int64_t m, int64_t k, float* out,
                   ThreadPool& pool);

}  // namespace nibble
