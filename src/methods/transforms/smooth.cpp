#include "methods/transforms/smooth.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace nibble {

std::vector<float> smooth_scales(std::span<const float> input_maxima, std::span<const float> weight_maxima,
                                 double strength) {
  if (input_maxima.size() != weight_maxima.size())
    fail(ErrorKind::bad_input, "{} maxima of an input and {} of its readers", input_maxima.size(),
         weight_maxima.size());
  if (!(strength >= 0 && strength <= 1))
    fail(ErrorKind::usage, "the strength of a migration is between 0 and 1, not {}", strength);
  std::vector<float> scale(input_maxima.size(), 1.0f);
  for (size_t j = 0; j < scale.size(); ++j) {
    const double x = input_maxima[j], w = weight_maxima[j];
    if (!(x >= 0) || !(w >= 0) || !std::isfinite(x) || !std::isfinite(w))
      fail(ErrorKind::bad_input, "channel {} has maxima {} and {}", j, x, w);
    if (x == 0 || w == 0) continue;
    const double s = std::exp(strength * std::log(x) - (1 - strength) * std::log(w));
    int exponent = 0;
    const double mantissa = std::frexp(std::clamp(s, 1e-5, 1e5), &exponent);
    scale[j] = static_cast<float>(std::ldexp(std::nearbyint(mantissa * 256), exponent - 8));
  }
  return scale;
}

void raise_column_maxima(std::span<const float> weights, std::span<float> maxima) {
  for (size_t i = 0; i < weights.size(); ++i) {
    float& m = maxima[i % maxima.size()];
    m = std::max(m, std::fabs(weights[i]));
  }
}

}  // namespace nibble
