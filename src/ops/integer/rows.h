#pragma once

#include "kernels/fixed.h"
#include "kernels/integer_matmul.h"
#include "ops/op.h"

// What the operations on whole numbers share. Every value is rows of 32-bit mantissas of at most 2^30 in
// magnitude, and one exponent a row: entry = mantissa * 2^exponent. Exponents are found while the model
// runs, by the largest magnitude of a row, and are powers of two, so that bringing rows together is shifting.

namespace nibble {

/// y = a + b for rows of n mantissas; returns the exponent of y, which may stand where a or b does.
int32_t add_rows(const IntegerKernels& kernels, const int32_t* a, int32_t a_exponent, const int32_t* b,
                 int32_t b_exponent, int64_t n, int32_t* y) noexcept;

/// y = f(x), times other where it is not null, for rows of n mantissas; returns the exponent of y, which may
/// stand where x does.
int32_t activate_row(const IntegerKernels& kernels, IntegerFunction function, const int32_t* x,
                     int32_t x_exponent, const int32_t* other, int32_t other_exponent, int64_t n,
                     int32_t* y) noexcept;

/// Throws Error{internal} unless the inputs are whole numbers.
void expect_whole(const Node& node, std::span<const Extent> in);

}  // namespace nibble
