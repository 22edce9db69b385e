#pragma once

#include <span>
#include <vector>

#include "base/pool.h"

namespace nibble {

/// A Hessian for matrices whose rows are looked up, not multiplied, such as token embeddings: an error e of a
/// looked-up row changes what the matrices W that read it give by W diag(g) e, g the gain of the norm between
/// them, so its square is e H eᵀ with H = sum over the readers of diag(g) WᵀW diag(g). Needs no data. For a
/// language model's embeddings the readers are the first layer's query, key and value matrices
/// (docs/solvers.md has the measurements).
class ReaderHessian {
 public:
  explicit ReaderHessian(int64_t cols);

  /// Adds rows of a reader: weights [rows, cols]; gain [cols], empty where no norm stands between. The sum
  /// does not depend on the threads, and hardly on how the rows are split. Throws Error{bad_input} if the
  /// sizes are not multiples of the columns.
  void add(std::span<const float> weights, std::span<const float> gain, ThreadPool& pool);

  /// [cols, cols], symmetric: for Stats::hessian.
  std::vector<float> hessian() const;

 private:
  int64_t cols_;
  std::vector<double> sum_;  ///< upper triangle
};

}  // namespace nibble
