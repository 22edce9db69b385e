#include "ops/linear.h"

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

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& attributes = node.attribute<LinearAttributes>();
  if (run.observer != nullptr) run.observer->see(node, *node.weight(0), 0, in[0]);
  if (run.observe_only) return;
  matmul(*node.weight(0)->matrix, attributes.first, attributes.rows, in[0].data, in[0].rows, out[0].data,
         out[0].cols, run.pool);
  if (node.weight(1) == nullptr && node.weight(2) == nullptr) return;
  const float* bias = node.weight(1) != nullptr ? node.weight(1)->values.data() + attributes.first : nullptr;
  const float scale = node.weight(2) != nullptr ? node.weight(2)->values[0] : 1.0f;
  parallel_ranges(run.pool, out[0].rows, 1 + 16384 / out[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* y = out[0].row(i);
      if (scale != 1.0f) {
        for (int64_t c = 0; c < out[0].cols; ++c) y[c] *= scale;
      }
      for (int64_t c = 0; c < out[0].cols && bias != nullptr; ++c) y[c] += bias[c];
    }
  });
}

}  // namespace

const Op linear_op{.name = "linear", .shape = shape, .forward = forward, .products = true};

}  // namespace nibble
