#include "ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& attributes = node.attribute<RopeAttributes>();
  const auto pairs = static_cast<int64_t>(attributes.table->frequency.size());
  if (attributes.head_dim <= 0 || in[0].cols % attributes.head_dim != 0 || 2 * pairs > attributes.head_dim)
    fail(ErrorKind::bad_input, "{} cannot rotate {} entries of heads of {} in {} columns", node.name,
         2 * pairs, attributes.head_dim, in[0].cols);
  return {in[0]};
}

const std::vector<float>& rotations(const RopeTable& table, RunContext& run, int64_t rows) {
  std::vector<float>& cached = run.rotations[&table];
  if (!cached.empty()) return cached;
  const auto pairs = static_cast<int64_t>(table.frequency.size());
  cached.resize(static_cast<size_t>(2 * rows * pairs));
  float* sines = cached.data() + rows * pairs;
  parallel_ranges(run.pool, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool stretched = !table.long_frequency.empty() && run.sequence_of(i).context > table.long_from;
      const std::vector<double>& frequency = stretched ? table.long_frequency : table.frequency;
      const auto position = static_cast<double>(run.position_of(i));
      for (int64_t j = 0; j < pairs; ++j) {
        const double angle = position * frequency[static_cast<size_t>(j)];
        cached[static_cast<size_t>(i * pairs + j)] = static_cast<float>(std::cos(angle) * table.magnitude);
        sines[i * pairs + j] = static_cast<float>(std::sin(angle) * table.magnitude);
      }
    }
  });
  return cached;
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& attributes = node.attribute<RopeAttributes>();
  const auto pairs = static_cast<int64_t>(attributes.table->frequency.size());
  const int64_t dim = attributes.head_dim;
  const float* cosines = rotations(*attributes.table, run, in[0].rows).data();
  const float* sines = cosines + in[0].rows * pairs;
  const int64_t step = attributes.interleaved ? 2 : 1;
  const int64_t apart = attributes.interleaved ? 1 : pairs;
  parallel_ranges(run.pool, in[0].rows, 1 + 4096 / in[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float *c = cosines + i * pairs, *s = sines + i * pairs;
      for (int64_t h = 0; h < in[0].cols; h += dim) {
        const float* x = in[0].row(i) + h;
        float* y = out[0].row(i) + h;
        for (int64_t j = 0; j < pairs; ++j) {
          const float a = x[j * step], b = x[j * step + apart];
          y[j * step] = a * c[j] - b * s[j];
          y[j * step + apart] = a * s[j] + b * c[j];
        }
        if (x != y) std::copy(x + 2 * pairs, x + dim, y + 2 * pairs);
      }
    }
  });
}

}  // namespace

std::vector<double> rope_frequencies(int64_t dim, double theta) {
  std::vector<double> frequency;
  for (int64_t j = 0; j < dim / 2; ++j)
    frequency.push_back(std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(dim)));
  return frequency;
}

void rope_scale_linear(std::vector<double>& frequency, double factor) {
  for (double& f : frequency) f /= factor;
}

void rope_divide(std::vector<double>& frequency, std::span<const double> factors) {
  if (factors.size() != frequency.size())
    fail(ErrorKind::bad_input, "{} rope factors for {} rotating pairs", factors.size(), frequency.size());
  for (size_t j = 0; j < factors.size(); ++j) {
    if (!(factors[j] > 0) || !std::isfinite(factors[j]))
      fail(ErrorKind::bad_input, "rope factor {} is {}, not a positive number", j, factors[j]);
    frequency[j] /= factors[j];
  }
}

std::vector<double> rope_llama3_factors(std::span<const double> frequency, double factor, double low_freq,
                                        double high_freq, double original_context) {
  std::vector<double> factors;
  for (const double f : frequency) {
    const double wave = 2 * std::numbers::pi / f;
    if (wave < original_context / high_freq) {
      factors.push_back(1);
    } else if (wave > original_context / low_freq) {
      factors.push_back(factor);
    } else {
      const double smooth = (original_context / wave - low_freq) / (high_freq - low_freq);
      factors.push_back(1 / ((1 - smooth) / factor + smooth));
    }
  }
  return factors;
}

void rope_scale_yarn(std::vector<double>& frequency, double theta, double factor, double original_context,
                     double beta_fast, double beta_slow) {
  const double dim = 2.0 * static_cast<double>(frequency.size());
  // The pair that turns `turns` times within the original context.
  const auto pair_of = [&](double turns) {
    return dim * std::log(original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const double low = std::max(std::floor(pair_of(beta_fast)), 0.0);
  const double high = std::min(std::ceil(pair_of(beta_slow)), dim - 1);
  for (size_t j = 0; j < frequency.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - low) / std::max(high - low, 0.001), 0.0, 1.0);
    frequency[j] = frequency[j] / factor * ramp + frequency[j] * (1 - ramp);
  }
}

const Op rope_op{.name = "rope", .shape = shape, .forward = forward, .in_place = true};

}  // namespace nibble
