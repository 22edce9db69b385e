#pragma once

#include <span>
#include <vector>

namespace nibble {

/// SmoothQuant's migration (Xiao et al., arXiv 2211.10438): what is hard to round in an input moves to the
/// matrices that read it. The scale of a channel is
///
///     (largest |x|)^strength / (largest |w| of its columns)^(1 - strength)
///
/// by which whatever makes the input divides (channel_scales.h: divide_rows) and the readers' columns are
/// multiplied (multiply_columns). `input_maxima` and `weight_maxima` [cols] are over the calibration text and
/// over all readers; strength 0.5 halves the burden, in the logarithm, between them. Scales have 8 bits of
/// mantissa, so that they are the same on every machine; a channel that is never used keeps 1. Throws
/// Error{bad_input} for sizes that differ and maxima that are negative or no numbers, Error{usage} for a
/// strength outside [0, 1].
std::vector<float> smooth_scales(std::span<const float> input_maxima, std::span<const float> weight_maxima,
                                 double strength = 0.5);

/// maxima[j] = max(maxima[j], largest |weight| of column j): weights [rows, cols], maxima [cols].
void raise_column_maxima(std::span<const float> weights, std::span<float> maxima);

}  // namespace nibble
