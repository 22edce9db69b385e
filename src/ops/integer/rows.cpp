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

void expect_whole(const Node& node, std::span<const Extent> in) {
  for (const Extent& e : in) {
    if (!e.whole) fail(ErrorKind::internal, "{} ({}) was given floats", node.name, node.op->name);
  }
}

}  // namespace nibble
