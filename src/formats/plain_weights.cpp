#include "formats/plain_weights.h"

#include <algorithm>
#include <cmath>

namespace nibble::fitting {

void plain_weights(std::span<const float> x, const float* counts, std::span<float> w) noexcept {
  double sum = 0, n = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double count = counts == nullptr ? 1 : double{counts[i]};
    sum += count * std::fabs(double{x[i]});
    n += count;
  }
  const auto mean = static_cast<float>(n > 0 ? sum / n : 0);
  for (size_t i = 0; i < x.size(); ++i)
    w[i] = (std::min(std::fabs(x[i]), 5 * mean) + 1.5f * mean) * (counts == nullptr ? 1.0f : counts[i]);
}

}  // namespace nibble::fitting
