#include "methods/transforms/smoothquant.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "methods/transforms/channel_transform.h"

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

namespace {

class SmoothQuant final : public ChannelTransform {
 public:
  std::string_view name() const noexcept override { return "smoothquant"; }
  std::string_view summary() const noexcept override {
    return "outliers of activations move into the weights (arXiv 2211.10438)";
  }
  Needs needs() const noexcept override { return {.maxima = true}; }
  ChannelChoice choose(std::span<const InputReader> readers, const Stats& stats, ThreadPool&) const override {
    if (stats.maxima.empty()) {
      throw Error(ErrorKind::bad_input,
                  "SmoothQuant needs the largest magnitude of each channel, and none was collected",
                  "calibrate on a text that reaches these matrices");
    }
    const auto cols = static_cast<int64_t>(stats.maxima.size());
    std::vector<float> columns(stats.maxima.size()), rows;
    constexpr int64_t at_once = 64;
    for (const InputReader& r : readers) {
      for (int64_t row = 0; row < r.rows; row += at_once) {
        const int64_t n = std::min(at_once, r.rows - row);
        rows.resize(static_cast<size_t>(n * cols));
        r.read(row, n, rows.data());
        raise_column_maxima(rows, columns);
      }
    }
    std::vector<float> scale = smooth_scales(stats.maxima, columns);
    const auto [low, high] = std::minmax_element(scale.begin(), scale.end());
    return {scale, fmt::format("SmoothQuant scales from {:.3g} to {:.3g}", *low, *high)};
  }
};

}  // namespace

const ChannelTransform& smoothquant_transform();
const ChannelTransform& smoothquant_transform() {
  static const SmoothQuant transform;
  return transform;
}

}  // namespace nibble
