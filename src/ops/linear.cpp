#include "ops/linear.h"

#include <algorithm>

#include "ops/activation.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& attributes = node.attribute<LinearAttributes>();
  expect_shape(node, node.weight(0), {attributes.all_rows, in[0].cols});
  if (node.weight(1) != nullptr) expect_shape(node, node.weight(1), {attributes.all_rows});
  if (node.weight(2) != nullptr && node.weight(2)->values.size() != 1)
    fail(ErrorKind::bad_input, "{} has shape {}, expected one value", node.weight(2)->name,
         node.weight(2)->shape.to_string());
  return {{in[0].rows, attributes.rows}};
}

MatmulPart part_of(const Node& node, const Value& out) {
  const auto& attributes = node.attribute<LinearAttributes>();
  return {node.weight(0)->matrix.get(), attributes.first, attributes.rows, out.data, out.cols};
}

/// Scale and bias, where a node has them.
void finish(const Node& node, RunContext& run, const Value& out) {
  if (node.weight(1) == nullptr && node.weight(2) == nullptr) return;
  const int64_t first = node.attribute<LinearAttributes>().first;
  const float* bias = node.weight(1) != nullptr ? node.weight(1)->values.data() + first : nullptr;
  const float scale = node.weight(2) != nullptr ? node.weight(2)->values[0] : 1.0f;
  parallel_ranges(run.pool, out.rows, 1 + 16384 / out.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* y = out.row(i);
      if (scale != 1.0f) {
        for (int64_t c = 0; c < out.cols; ++c) y[c] *= scale;
      }
      for (int64_t c = 0; c < out.cols && bias != nullptr; ++c) y[c] += bias[c];
    }
  });
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  if (run.observer != nullptr) run.observer->see(node, *node.weight(0), 0, in[0]);
  if (run.observe_only) return;
  const MatmulPart part = part_of(node, out[0]);
  matmul({&part, 1}, in[0].data, in[0].rows, run.pool);
  finish(node, run, out[0]);
}

void forward_together(std::span<const Node> nodes, RunContext& run, const Value& in,
                      std::span<const Value> out) {
  std::vector<MatmulPart> parts;
  parts.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (run.observer != nullptr) run.observer->see(nodes[i], *nodes[i].weight(0), 0, in);
    parts.push_back(part_of(nodes[i], out[i]));
  }
  matmul(parts, in.data, in.rows, run.pool);
  for (size_t i = 0; i < nodes.size(); ++i) finish(nodes[i], run, out[i]);
}

void forward_gated(std::span<const Node> nodes, const Node& activation, RunContext& run, const Value& in,
                   std::span<const Value> room, const Value& out) {
  const bool plain = std::all_of(nodes.begin(), nodes.end(), [](const Node& n) {
    return n.weight(1) == nullptr && n.weight(2) == nullptr;
  });
  if (!plain) {
    forward_together(nodes, run, in, room);
    return activation.op->forward(activation, run, room, {&out, 1});
  }
  for (const Node& n : nodes) {
    if (run.observer != nullptr) run.observer->see(n, *n.weight(0), 0, in);
  }
  gated_matmul(part_of(nodes[0], room[0]), part_of(nodes[1], room[1]),
               {activation.attribute<ActivationAttributes>().kind, out.data, out.cols}, in.data, in.rows,
               run.pool);
}

}  // namespace

const Op linear_op{.name = "linear",
                   .shape = shape,
                   .forward = forward,
                   .forward_together = forward_together,
                   .forward_gated = forward_gated,
                   .products = true};

}  // namespace nibble
