#pragma once

#include <cstdint>
#include <vector>

#include "base/huge_memory.h"
#include "kernels/matmul.h"

namespace nibble {

/// What lies right of the squares of 128 on the diagonal of a matrix, laid out for a matrix unit of bf16:
/// each number as the sum of two bf16. A product is wrong by 2^-15 of itself at most; sums are in f32.
class SplitTriangle {
 public:
  /// Nothing.
  SplitTriangle() = default;
  /// Of m [n, n]; nothing at levels without such a unit.
  SplitTriangle(const float* m, int64_t n, ThreadPool& pool);

  /// Rows of m whose products are taken together.
  static constexpr int64_t panel = split_depth;
  bool empty() const noexcept { return kernel_ == nullptr; }
  /// y[i][j] += sum over t in [from, to) of p[i][t] * m[t][j] for j in [to, n); `from` and `to` are multiples
  /// of 128. Of y there are padded_rows(rows) rows and 15 numbers behind the last one; nothing but zeros is
  /// added to what is not asked for.
  void add(int64_t from, int64_t to, const float* p, int64_t rows, int64_t p_stride, float* y,
           int64_t y_stride) const;
  static int64_t padded_rows(int64_t rows) noexcept { return (rows + 15) / 16 * 16; }

 private:
  int64_t n_ = 0;
  const SplitKernel* kernel_ = nullptr;
  std::vector<size_t> begin_;  ///< of each panel
  LargeArray<uint16_t> tiles_;
};

}  // namespace nibble
