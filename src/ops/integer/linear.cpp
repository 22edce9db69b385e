#include "ops/integer/linear.h"

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  const IntegerMatrix& matrix = *node.attribute<IntegerLinear>().matrix;
  expect_cols(node, in[0], matrix.cols());
  return {{in[0].rows, matrix.rows(), true}};
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  if (run.observer != nullptr)
    fail(ErrorKind::unsupported, "{}: a model in whole numbers shows no activations", node.name);
  integer_matmul(*node.attribute<IntegerLinear>().matrix, in[0].whole(0), in[0].exponent, in[0].rows,
                 out[0].whole(0), out[0].exponent, run.pool);
}

}  // namespace

const Op integer_linear_op{
    .name = "integer linear", .shape = shape, .forward = forward, .products = true, .integer = true};

}  // namespace nibble
