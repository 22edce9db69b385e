#include "ops/activation.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return {in[0]};
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto kind = node.attribute<ActivationAttributes>().kind;
  parallel_ranges(run.pool, in[0].rows * in[0].cols, 8192, [&](int64_t begin, int64_t end) {
    activate(kind, in[0].data + begin, in.size() > 1 ? in[1].data + begin : nullptr, out[0].data + begin,
             end - begin);
  });
}

}  // namespace

const Op activation_op{.name = "activation", .shape = shape, .forward = forward, .in_place = true};

}  // namespace nibble
