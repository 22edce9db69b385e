#include "ops/norm.h"

#include <algorithm>

#include "kernels/elementwise.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& attributes = node.attribute<NormAttributes>();
  if (attributes.width <= 0 || in[0].cols % attributes.width != 0)
    fail(ErrorKind::bad_input, "{} cannot cut {} columns into groups of {}", node.name, in[0].cols,
         attributes.width);
  expect_shape(node, node.weight(0), {attributes.width});
  if (node.weight(1) != nullptr) expect_shape(node, node.weight(1), {attributes.width});
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return std::vector<Extent>(std::max<size_t>(1, node.out.size()), in[0]);
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& attributes = node.attribute<NormAttributes>();
  const int64_t width = attributes.width;
  const float* scale = node.weight(0)->values.data();
  const float* bias = node.weight(1) != nullptr ? node.weight(1)->values.data() : nullptr;
  const int64_t groups = in[0].rows * (in[0].cols / width);
  parallel_ranges(run.pool, groups, 1 + 4096 / width, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * width;
    NormTask task{in[0].data + at, end - begin, width, attributes.center,
                  attributes.eps,  scale,       bias,  out.back().data + at};
    if (in.size() > 1) task.plus = in[1].data + at;
    if (out.size() > 1) task.sum = out[0].data + at;
    normalize(task);
  });
}

}  // namespace

const Op norm_op{.name = "norm", .shape = shape, .forward = forward, .in_place = true};

}  // namespace nibble
