#pragma once

#include <vector>

#include "base/huge_memory.h"
#include "kernels/matmul.h"

namespace nibble {

/// XᵀX of rows that come one call after the other: what solvers take for a Hessian. Exact: a sum in f32 over
/// the rows of each call, in ascending order, which are then added up; the same bits at every level. Fast:
/// where the level has a matrix unit, of the rows rounded to bf16, which is what it multiplies weights with
/// (sums in f32); elsewhere as exact. Neither depends on the number of threads.
class Gram {
 public:
  /// For rows of `cols` numbers.
  Gram(int64_t cols, Precision precision);
  void add(const float* x, int64_t rows, ThreadPool& pool);
  /// Bytes that one takes while rows are added.
  static uint64_t most_bytes(int64_t cols, Precision precision);
  /// [cols, cols], symmetric. Nothing is left behind.
  std::vector<float> take(ThreadPool& pool);

 private:
  void pack(const float* x, int64_t rows, ThreadPool& pool);
  void pack_rest(ThreadPool& pool);
  void multiply(ThreadPool& pool);
  void unfold(int64_t pair, float* h) const;

  int64_t cols_;
  const GramKernel* kernel_;           ///< null: exact
  int64_t most_blocks_;                ///< that wait, of 32 rows
  std::vector<float> sums_;            ///< of exact ones: the upper triangle
  LargeArray<float> tiles_;            ///< of fast ones: as GramTask has them
  LargeArray<uint16_t> left_, right_;  ///< tiles of rows that were not multiplied yet
  int64_t blocks_ = 0;                 ///< of them
  std::vector<float> rest_;            ///< rows that do not fill a block
};

}  // namespace nibble
