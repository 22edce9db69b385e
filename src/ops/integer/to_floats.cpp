#include "ops/integer/to_floats.h"

#include <cmath>

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  return {{in[0].rows, in[0].cols}};
}

void forward(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  parallel_ranges(run.pool, in[0].rows, 1 + 16384 / in[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double scale = std::ldexp(1.0, in[0].exponent[i]);
      const int32_t* x = in[0].whole(i);
      float* y = out[0].row(i);
      for (int64_t c = 0; c < in[0].cols; ++c) y[c] = static_cast<float>(x[c] * scale);
    }
  });
}

}  // namespace

const Op to_floats_op{.name = "to floats", .shape = shape, .forward = forward};

}  // namespace nibble
