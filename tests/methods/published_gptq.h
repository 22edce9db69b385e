#pragma once

#include <functional>

#include "methods/under_solver.h"

namespace nibble::test {

/// What a weight that should be w becomes, as the quantizer of its place has it.
using Quantize = std::function<double(int64_t row, int64_t column, double w)>;

/// GPTQ as its authors write it (arXiv 2210.17323, algorithm 1), in double, column by column: the inverse of
/// the damped Hessian, its upper Cholesky factor U, and after each column w -= (w_j - q_j) / U_jj * U_j.
struct PublishedGptq {
  std::vector<float> q;   ///< [rows, cols]
  std::vector<double> u;  ///< [cols] U_jj of each column
};

/// With `act_order` the columns of the weights and both sides of the Hessian are sorted by the falling
/// diagonal beforehand and the result is sorted back, as the authors' program does it; the quantizers are
/// those of the columns' own places (its `static_groups`).
PublishedGptq published_gptq(const Problem& p, double damping, bool act_order, const Quantize& quantize);

}  // namespace nibble::test
