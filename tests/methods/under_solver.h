#pragma once

#include <vector>

#include "methods/solver.h"

namespace nibble::test {

/// Weights, and the Hessian of correlated inputs: X is a random walk along the columns with a few loud ones.
struct Problem {
  Shape shape;
  std::vector<float> weights, hessian, importance;
};
Problem make_problem(int64_t rows, int64_t cols, uint64_t seed);

/// Solves the whole tensor in windows of `window_rows` (0: all at once) and gives its planes.
QTensor solve(const Solver& solver, const Format& format, const Problem& p, ThreadPool& pool,
              int64_t window_rows = 0, const SolverOptions& options = {});

std::vector<float> decoded(const Format& format, const QTensor& t);
std::vector<std::byte> bytes_of(const QTensor& t);

/// trace of (W - Q) H (W - Q)ᵀ over that of W H Wᵀ.
double relative_error(const Problem& p, const std::vector<float>& decoded);

/// Every example word of the list that can be written.
std::vector<const Format*> writable_formats();
std::string case_name(const Format& format);

}  // namespace nibble::test
