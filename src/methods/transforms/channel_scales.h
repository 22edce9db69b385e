#pragma once

#include <span>
#include <vector>

#include "methods/solver.h"

// Scaling the channels of an input: the columns of all matrices that read it are multiplied by a scale each,
// and whatever makes the input divides by it, so the model's function stays what it was. The maker is a norm
// (its gain absorbs the division) or, where nothing but a linear map lies between, the rows of the matrix
// before (an MLP's up projection for the down projection; the value rows for the attention output, where no
// two query heads share them).

namespace nibble {

/// A matrix that reads the input, and what it will be rounded to.
struct ScaledReader {
  std::span<const float> weights;  ///< [rows, cols], finite
  const Format& format;
};

/// The outcome of a search.
struct ChannelScales {
  std::vector<float> scale;  ///< [cols], positive, of geometric mean about 1
  double exponent = 0;       ///< 0: scaling gains nothing, all scales are 1
  double error = 0;          ///< of the readers' outputs, rounded to the nearest under these scales
  double unscaled_error = 0;
};

/// AWQ's search (arXiv 2306.00978): scales are the inputs' root mean squares to the power of an exponent from
/// 0 to 1, of which the one with the least error of the readers' outputs is taken. The error is measured
/// against the Hessian where there is one, else against the importance; on at most 128 rows of each reader,
/// evenly spaced. AWQ's clipping is left to the formats' fit, which is given the importance. Does not depend
/// on the threads. Throws Error{bad_input} if the importance is missing or sizes do not fit,
/// Error{unsupported} on a misfit.
ChannelScales search_awq_scales(std::span<const ScaledReader> readers, const Stats& stats, ThreadPool& pool);

/// weights [rows, cols]: column j times scale[j].
void multiply_columns(std::span<float> weights, std::span<const float> scale);
/// weights [rows, cols] of the matrix that makes the input: row j by scale[j]; a norm's gain has one column.
void divide_rows(std::span<float> weights, std::span<const float> scale);

}  // namespace nibble
