#pragma once

#include "ops/op.h"

namespace nibble {

/// y = x R, R the fixed rotation of as many columns (kernels/rotation.h): before a matrix whose columns were
/// turned so, whose product is then what it was, while no channel of the input stands out any more (QuaRot,
/// Ashkboos et al., arXiv 2404.00456).
extern const Op turn_op;

/// Turns every run of `width` columns of the rows by the fixed rotation of that width, or back.
void turn_runs(const Value& x, int64_t width, bool back, ThreadPool& pool);

}  // namespace nibble
