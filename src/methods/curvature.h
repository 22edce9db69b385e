#pragma once

#include <vector>

#include "base/huge_memory.h"
#include "kernels/split_triangle.h"
#include "methods/solver.h"

namespace nibble {

/// The error of a row of weights as a quadratic form: e H eᵀ with e = w - decoded w, H the damped Hessian of
/// the inputs. With H = R Rᵀ, R upper triangular, the form is sum over j of d_j (e_j + sum over i < j of
/// e_i m_ij)², d_j = R_jj², m_ij = R_ij / R_jj: given the errors of the columns before j, the best value of
/// column j is the grid point nearest to w_j + sum e_i m_ij. That is GPTQ (arXiv 2210.17323) written as LDLQ
/// (arXiv 2307.13304, whose theorem 6 shows that they are the same), and needs no inverse.
///
/// With act-order the columns take their turns by falling diagonal of the Hessian, equal ones from left to
/// right. The factor is that of the Hessian in this order: "column" above, in m and its indices, is then the
/// turn of a column. h and d stay in the order of the weights.
struct Curvature final : Prepared {
  int64_t n = 0;
  int passes = 0;  ///< of descent
  Precision precision = Precision::exact;
  bool static_groups = false;   ///< parameters are fitted before the first column is rounded
  std::vector<int64_t> order;   ///< [n] the column of each turn; empty: from left to right
  LargeArray<float> h;          ///< [n, n] damped, by columns; empty without passes
  std::vector<float> diagonal;  ///< [n] of h
  LargeArray<float> m;          ///< [n, n] upper triangular with a unit diagonal, by turns
  SplitTriangle split;          ///< of m; empty unless precision is fast
  std::vector<float> d;         ///< [n] by columns

  /// The column whose turn it is.
  int64_t column(int64_t turn) const noexcept {
    return order.empty() ? turn : order[static_cast<size_t>(turn)];
  }

  /// Throws Error{bad_input} if the Hessian is missing, holds NaN, infinity or a negative diagonal, is zero,
  /// or cannot be factored with any damping up to its mean diagonal.
  static std::shared_ptr<const Curvature> of(const Stats& stats, const SolverOptions& options,
                                             ThreadPool& pool);
};

}  // namespace nibble
