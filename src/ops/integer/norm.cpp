#include "ops/integer/norm.h"

#include <algorithm>

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  const auto& a = node.attribute<IntegerNorm>();
  if (a.width <= 0 || in[0].cols % a.width != 0)
    fail(ErrorKind::bad_input, "{} cannot cut {} columns into groups of {}", node.name, in[0].cols, a.width);
  return {in[0]};
}

void normalize(const IntegerKernels& kernels, const IntegerNorm& a, const int32_t* x, int exponent,
               int32_t* y) noexcept {
  const int64_t n = a.width;
  // 29 bits, so that what is left of the mean has 30.
  const int left = room_above(kernels.most(x, n), mantissa_bits - 1);
  exponent -= left;
  int32_t mean = 0;
  if (a.center) {
    const int64_t sum = kernels.sum(x, n, left);
    mean = static_cast<int32_t>((sum + (sum < 0 ? -n : n) / 2) / n);
  }
  const Wide squares = widen(kernels.squares(x, n, left, mean), 2 * exponent + 12);
  const Wide variance = add(divide(squares, static_cast<uint64_t>(n)), a.eps);
  Dyadic inverse;
  if (variance.mantissa != 0) inverse = inverse_square_root(variance);
  const int shift = std::clamp(-(exponent + inverse.exponent + a.fraction), 0, 62);
  kernels.norm({x, n, left, mean, inverse.mantissa, shift, a.gain_shift, a.gain.data(),
                a.bias.empty() ? nullptr : a.bias.data(), y});
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerNorm>();
  const IntegerKernels& kernels = integer_kernels();
  const int64_t groups = in[0].cols / a.width;
  parallel_ranges(run.pool, in[0].rows * groups, 1 + 16384 / a.width, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      normalize(kernels, a, in[0].whole(0) + g * a.width, in[0].exponent[g / groups],
                out[0].whole(0) + g * a.width);
  });
  std::fill_n(out[0].exponent, out[0].rows, a.exponent);
}

}  // namespace

const Op integer_norm_op{
    .name = "integer norm", .shape = shape, .forward = forward, .in_place = true, .integer = true};

}  // namespace nibble
