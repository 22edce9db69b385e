#include "ops/activation.h"

namespace nibble {
namespace {

/// The complement of the error function for v >= 0, wrong by at most 1.5e-7 (Abramowitz and Stegun 7.1.26).
/// Unlike the library's, the same bits everywhere and plain enough to be vectorized.
inline float erfc_f32(float v) noexcept {
  const float t = 1.0f / (1.0f + 0.3275911f * v);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  return p * t * exp_f32(-v * v);
}

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return {in[0]};
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto kind = node.attribute<ActivationAttributes>().kind;
  parallel_ranges(run.pool, in[0].rows * in[0].cols, 8192, [&](int64_t begin, int64_t end) {
    float* y = out[0].data;
    activate(kind, in[0].data + begin, y + begin, end - begin);
    if (in.size() < 2) return;
    const float* up = in[1].data;
    for (int64_t i = begin; i < end; ++i) y[i] *= up[i];
  });
}

}  // namespace

void activate(ActivationKind kind, const float* x, float* y, int64_t n) noexcept {
  switch (kind) {
    case ActivationKind::silu:
      for (int64_t i = 0; i < n; ++i) y[i] = x[i] / (1.0f + exp_f32(-x[i]));
      break;
    case ActivationKind::gelu_tanh:
      // x / 2 * (1 + tanh(u)) = x / (1 + e^(-2u)) with u = sqrt(2 / pi) * (x + 0.044715 x^3)
      for (int64_t i = 0; i < n; ++i) {
        const float u = 0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        y[i] = x[i] / (1.0f + exp_f32(-2.0f * u));
      }
      break;
    case ActivationKind::gelu_erf:
      for (int64_t i = 0; i < n; ++i) {
        const float v = x[i] * 0.7071067812f;
        const float half = 0.5f * x[i] * erfc_f32(v < 0 ? -v : v);
        y[i] = v < 0 ? half : x[i] - half;
      }
      break;
    case ActivationKind::relu:
      for (int64_t i = 0; i < n; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];
      break;
  }
}

const Op activation_op{.name = "activation", .shape = shape, .forward = forward, .in_place = true};

}  // namespace nibble
