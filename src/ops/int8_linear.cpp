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
  if (attributes.activation && matrix == nullptr)
    fail(ErrorKind::internal, "{} has an activation but no whole numbers", node.name);
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

Int8Part part_of(const Node& node, const Value& out) {
  const auto& a = node.attribute<Int8LinearAttributes>();
  const float* bias = node.weight(1) != nullptr ? node.weight(1)->values.data() + a.linear.first : nullptr;
  return {a.matrix.get(), bias, out.data, out.cols, a.activation};
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
  if (a.matrix != nullptr) {
    const Int8Part part = part_of(node, out[0]);
    int8_matmul({&part, 1}, grid, in[0].data, in[0].rows, run.pool);
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

/// Whether two nodes round their input to the same numbers, in the same order.
bool round_alike(const Node& node, const Node& other) {
  const auto &a = node.attribute<Int8LinearAttributes>(), &b = other.attribute<Int8LinearAttributes>();
  return a.matrix != nullptr && b.matrix != nullptr && a.running == nullptr && b.running == nullptr &&
         a.grid == b.grid && a.matrix->reads_like(*b.matrix);
}

void forward_together(std::span<const Node> nodes, RunContext& run, const Value& in,
                      std::span<const Value> out) {
  size_t n = 1;
  for (size_t i = 0; i < nodes.size(); i += n) {
    for (n = 1; i + n < nodes.size() && round_alike(nodes[i], nodes[i + n]);) ++n;
    if (n == 1) {
      forward(nodes[i], run, {&in, 1}, out.subspan(i, 1));
      continue;
    }
    std::vector<Int8Part> parts;
    for (size_t k = i; k < i + n; ++k) {
      if (run.observer != nullptr) run.observer->see(nodes[k], *nodes[k].weight(0), 0, in);
      parts.push_back(part_of(nodes[k], out[k]));
    }
    int8_matmul(parts, nodes[i].attribute<Int8LinearAttributes>().grid, in.data, in.rows, run.pool);
  }
}

}  // namespace

const Op int8_linear_op{.name = "int8 linear",
                        .shape = shape,
                        .forward = forward,
                        .forward_together = forward_together,
                        .products = true};

}  // namespace nibble
