#include "ops/integer/rows.h"

#include <algorithm>

namespace nibble {

int32_t add_rows(const IntegerKernels& kernels, const int32_t* a, int32_t a_exponent, const int32_t* b,
                 int32_t b_exponent, int64_t n, int32_t* y) noexcept {
  const uint32_t a_most = kernels.most(a, n), b_most = kernels.most(b, n);
  // The exponents that would bring each to 29 bits: the sum of two such has 30.
  const int a_top = a_exponent - room_above(a_most, mantissa_bits - 1);
  const int b_top = b_exponent - room_above(b_most, mantissa_bits - 1);
  const int exponent = a_most == 0 ? b_top : b_most == 0 ? a_top : std::max(a_top, b_top);
  const auto left = [&](int from, uint32_t most) { return most == 0 ? 0 : std::max(from - exponent, -31); };
  kernels.add(a, left(a_exponent, a_most), b, left(b_exponent, b_most), n, y);
  return exponent;
}

int32_t activate_row(const IntegerKernels& kernels, IntegerFunction function, const int32_t* x,
                     int32_t x_exponent, const int32_t* other, int32_t other_exponent, int64_t n,
                     int32_t* y) noexcept {
  const int left = room_above(kernels.most(x, n));
  int32_t exponent = x_exponent - left;
  IntegerActivationTask task{function, x, other, n, left, exponent, 0, y};
  if (other != nullptr) {
    task.other_left = room_above(kernels.most(other, n));
    exponent += other_exponent - task.other_left + mantissa_bits;
  }
  kernels.activate(task);
  return exponent;
}

void expect_whole(const Node& node, std::span<const Extent> in) {
  for (const Extent& e : in) {
    if (!e.whole) fail(ErrorKind::internal, "{} ({}) was given floats", node.name, node.op->name);
  }
}

}  // namespace nibble
