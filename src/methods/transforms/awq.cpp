#include <algorithm>
#include <cmath>

#include "methods/transforms/channel_transform.h"

namespace nibble {
namespace {

constexpr int steps = 20;
constexpr int64_t sampled_rows = 128;

struct Sample {
  const Format* format;
  Shape shape;
  std::vector<float> weights;
};

Sample sample_of(const ScaledReader& r, int64_t cols) {
  const int64_t rows = static_cast<int64_t>(r.weights.size()) / cols;
  if (rows == 0 || static_cast<size_t>(rows * cols) != r.weights.size())
    fail(ErrorKind::bad_input, "a reader of {} weights does not fit an input of {}", r.weights.size(), cols);
  const int64_t count = std::min(rows, sampled_rows);
  Sample s{&r.format, Shape{count, cols}, {}};
  for (int64_t i = 0; i < count; ++i) {
    const auto row =
        r.weights.subspan(static_cast<size_t>(i * rows / count * cols), static_cast<size_t>(cols));
    s.weights.insert(s.weights.end(), row.begin(), row.end());
  }
  return s;
}

/// Error of the outputs of a sample whose columns are scaled before they are rounded.
double error_of(const Sample& s, std::span<const float> scale, const Stats& stats) {
  const auto n = scale.size();
  std::vector<float> x = s.weights, importance(n), y(x.size());
  multiply_columns(x, scale);
  for (size_t j = 0; j < n; ++j) importance[j] = stats.importance[j] / (scale[j] * scale[j]);
  decode_range(*s.format, encode_nearest(*s.format, s.shape, x, importance), 0, s.shape.elements(), y.data());
  double sum = 0;
  std::vector<double> e(n);
  for (size_t row = 0; row < x.size(); row += n) {
    for (size_t j = 0; j < n; ++j) e[j] = double{s.weights[row + j]} - double{y[row + j]} / scale[j];
    for (size_t i = 0; i < n; ++i) {
      if (stats.hessian.empty()) {
        sum += stats.importance[i] * e[i] * e[i];
        continue;
      }
      double slope = 0;
      for (size_t j = 0; j < n; ++j) slope += e[j] * stats.hessian[i * n + j];
      sum += slope * e[i];
    }
  }
  return sum;
}

/// Root mean squares to the power of the exponent, so that the largest and the smallest are inverse.
std::vector<float> scales_of(std::span<const float> importance, double exponent) {
  std::vector<float> scale(importance.size(), 1.0f);
  double low = INFINITY, high = 0;
  for (size_t j = 0; j < scale.size() && exponent > 0; ++j) {
    const double rms = std::max(std::sqrt(double{importance[j]}), 1e-4);
    scale[j] = static_cast<float>(std::exp(exponent * std::log(rms)));
    low = std::min(low, double{scale[j]});
    high = std::max(high, double{scale[j]});
  }
  if (high > 0) {
    const auto norm = static_cast<float>(1 / std::sqrt(low * high));
    for (float& v : scale) v *= norm;
  }
  // Eight bits of mantissa, of which every maker's float type keeps enough, and no trace of the math library.
  for (float& v : scale) {
    int exponent2 = 0;
    const float m = std::frexp(v, &exponent2);
    v = std::ldexp(std::nearbyint(m * 256), exponent2 - 8);
  }
  return scale;
}

}  // namespace

ChannelScales search_awq_scales(std::span<const ScaledReader> readers, const Stats& stats, ThreadPool& pool) {
  const size_t n = stats.importance.size();
  if (n == 0) {
    throw Error(ErrorKind::bad_input,
                "AWQ scaling needs the importance of the inputs, and none was collected",
                "calibrate on a text that reaches these matrices");
  }
  if (!stats.hessian.empty() && stats.hessian.size() != n * n)
    fail(ErrorKind::bad_input, "a Hessian of {} numbers does not fit {} inputs", stats.hessian.size(), n);
  for (const float v : stats.importance) {
    if (!std::isfinite(v) || v < 0) fail(ErrorKind::bad_input, "the importance of an input is {}", v);
  }
  std::vector<Sample> samples;
  for (const ScaledReader& r : readers) samples.push_back(sample_of(r, static_cast<int64_t>(n)));
  std::vector<std::vector<float>> scales;
  scales.reserve(steps);
  for (int k = 0; k < steps; ++k)
    scales.push_back(scales_of(stats.importance, static_cast<double>(k) / steps));
  std::vector<double> errors(scales.size() * samples.size());
  pool.parallel_for(errors.size(), [&](size_t i) {
    errors[i] = error_of(samples[i % samples.size()], scales[i / samples.size()], stats);
  });
  ChannelScales best;
  for (size_t k = 0; k < scales.size(); ++k) {
    double error = 0;
    for (size_t i = 0; i < samples.size(); ++i) error += errors[k * samples.size() + i];
    if (k == 0) best.unscaled_error = error;
    if (k == 0 || error < best.error) {
      best.error = error;
      best.exponent = static_cast<double>(k) / steps;
      best.scale = scales[k];
    }
  }
  return best;
}

void multiply_columns(std::span<float> weights, std::span<const float> scale) {
  for (size_t i = 0; i < weights.size(); ++i) weights[i] *= scale[i % scale.size()];
}

void divide_rows(std::span<float> weights, std::span<const float> scale) {
  const size_t cols = weights.size() / scale.size();
  for (size_t i = 0; i < weights.size(); ++i) weights[i] /= scale[i / cols];
}

namespace {

/// Evenly spaced rows of a reader: what the search looks at.
std::vector<float> read_sample(const InputReader& r, int64_t cols) {
  const int64_t count = std::min(r.rows, sampled_rows);
  std::vector<float> x(static_cast<size_t>(count * cols));
  for (int64_t i = 0; i < count; ++i) r.read(i * r.rows / count, 1, x.data() + i * cols);
  return x;
}

class Awq final : public ChannelTransform {
 public:
  std::string_view name() const noexcept override { return "awq"; }
  std::string_view summary() const noexcept override {
    return "activation-aware channel scales (arXiv 2306.00978)";
  }
  Needs needs() const noexcept override { return {.importance = true}; }
  ChannelChoice choose(std::span<const InputReader> readers, const Stats& stats,
                       ThreadPool& pool) const override {
    std::vector<std::vector<float>> samples;
    std::vector<ScaledReader> scaled;
    samples.reserve(readers.size());
    for (const InputReader& r : readers) {
      if (is_plain_float(r.format.spec())) continue;
      samples.push_back(read_sample(r, static_cast<int64_t>(stats.importance.size())));
      scaled.push_back({samples.back(), r.format});
    }
    if (scaled.empty()) return {};
    ChannelScales found = search_awq_scales(scaled, stats, pool);
    if (found.exponent == 0) return {};
    return {std::move(found.scale),
            fmt::format("AWQ scales, exponent {:.2f}: {:.3f} of the error of rounding", found.exponent,
                        found.error / found.unscaled_error)};
  }
};

}  // namespace

const ChannelTransform& awq_transform();
const ChannelTransform& awq_transform() {
  static const Awq transform;
  return transform;
}

}  // namespace nibble
