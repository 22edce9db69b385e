#include "ops/int8_linear.h"

#include <algorithm>

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& attributes = node.attribute<Int8LinearAttributes>();
  Node plain{&linear_op, node.name, node.in, node.out, node.weights, attributes.linear};
  std::vector<Extent> out = linear_op.shape(plain, in);
  const auto& matrix = attributes.matrix;
  if (matrix != nullptr && (matrix->rows() != attributes.linear.rows || matrix->cols() != in[0].cols))
    fail(ErrorKind::internal, "{} has whole numbers for {} x {}", node.name, matrix->rows(), matrix->cols());
  return out;
}

/// Moves a tenth of the way to the range of these values.
void follow(RunningRange& running, const Value& x, float threshold) {
  constexpr float pace = 0.1f;
  Extremes seen{0, 0, true};
  for (int64_t i = 0; i < x.rows; ++i) {
    const Extremes e = cpu_kernels().int8.extremes({x.row(i), x.cols, threshold});
    if (!e.finite) continue;
    seen.low = std::min(seen.low, e.low);
    seen.high = std::max(seen.high, e.high);
  }
  running.low += (running.seen ? pace : 1.0f) * (seen.low - running.low);
  running.high += (running.seen ? pace : 1.0f) * (seen.high - running.high);
  running.seen = true;
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<Int8LinearAttributes>();
  if (run.observer != nullptr) run.observer->see(node, *node.weight(0), 0, in[0]);
  if (run.observe_only) return;
  ActivationGrid grid = a.grid;
  if (a.running != nullptr) {
    follow(*a.running, in[0], grid.outliers);
    grid.low = a.running->low;
    grid.high = a.running->high;
  }
  const float* bias = node.weight(1) != nullptr ? node.weight(1)->values.data() + a.linear.first : nullptr;
  if (a.matrix != nullptr) {
    int8_matmul(*a.matrix, grid, in[0].data, in[0].rows, bias, out[0].data, out[0].cols, run.pool);
    return;
  }
  std::vector<float> rounded(static_cast<size_t>(in[0].rows * in[0].cols));
  round_to_grid(grid, in[0].data, in[0].rows, in[0].cols, rounded.data(), run.pool);
  RunContext inner = run;
  inner.observer = nullptr;
  const Node plain{&linear_op, node.name, node.in, node.out, node.weights, a.linear};
  const Value x{rounded.data(), in[0].rows, in[0].cols};
  linear_op.forward(plain, inner, {&x, 1}, out);
}

}  // namespace

const Op int8_linear_op{.name = "int8 linear", .shape = shape, .forward = forward, .products = true};

}  // namespace nibble
