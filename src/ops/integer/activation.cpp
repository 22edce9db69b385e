#include "ops/integer/activation.h"

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return {in[0]};
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto function = node.attribute<IntegerActivation>().function;
  const IntegerKernels& kernels = integer_kernels();
  const int64_t cols = in[0].cols;
  parallel_ranges(run.pool, in[0].rows, 1 + 4096 / cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool gated = in.size() > 1;
      out[0].exponent[i] =
          activate_row(kernels, function, in[0].whole(i), in[0].exponent[i], gated ? in[1].whole(i) : nullptr,
                       gated ? in[1].exponent[i] : 0, cols, out[0].whole(i));
    }
  });
}

}  // namespace

const Op integer_activation_op{
    .name = "integer activation", .shape = shape, .forward = forward, .in_place = true, .integer = true};

}  // namespace nibble
