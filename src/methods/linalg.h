#pragma once

#include <cstdint>
#include <span>

#include "base/pool.h"
#include "kernels/precision.h"

// Dense linear algebra of the solvers. Own routines, because what a quantizer writes must be the same bytes
// on every machine, unless they ask for speed: each element's additions have one fixed order, whatever the
// blocking, the threads and the instruction set.

namespace nibble::linalg {

/// Factors the symmetric matrix a [n, n], of which the upper triangle is read, into R Rᵀ with R upper
/// triangular, and leaves R in the upper triangle (what is below it is lost). False if a pivot is not
/// positive: the matrix is not positive definite, and `a` holds nothing useful.
/// Fast: with fused multiply-adds where the level in use has them, so with other last bits.
bool factor_upper(std::span<double> a, int64_t n, ThreadPool& pool, Precision precision = Precision::exact);

}  // namespace nibble::linalg
