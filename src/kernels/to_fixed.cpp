// The only way from floats to whole numbers. Runs when a model is loaded, never while it runs.
#include <cmath>

#include "base/error.h"
#include "kernels/fixed.h"

namespace nibble {
namespace {

void expect_finite(double x, std::string_view what) {
  if (!std::isfinite(x)) fail(ErrorKind::bad_input, "{} has a value that is no number: {}", what, x);
}

}  // namespace

Dyadic to_dyadic(double x, std::string_view what) {
  expect_finite(x, what);
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);  // in [0.5, 1)
  return {static_cast<int32_t>(std::nearbyint(std::ldexp(fraction, mantissa_bits))),
          x == 0 ? 0 : exponent - mantissa_bits};
}

FixedVector to_fixed(std::span<const double> x, int bits, std::string_view what) {
  double most = 0;
  for (const double v : x) {
    expect_finite(v, what);
    most = std::max(most, std::fabs(v));
  }
  int exponent = 0;
  std::frexp(most, &exponent);
  exponent -= bits;
  return {to_fixed_with(x, exponent, what), exponent};
}

std::vector<int32_t> to_fixed_with(std::span<const double> x, int exponent, std::string_view what) {
  std::vector<int32_t> m;
  m.reserve(x.size());
  for (const double v : x) {
    expect_finite(v, what);
    const double scaled = std::nearbyint(std::ldexp(v, -exponent));
    if (std::fabs(scaled) > 1 << mantissa_bits)
      fail(ErrorKind::internal, "{}: {} does not fit 30 bits of exponent {}", what, v, exponent);
    m.push_back(static_cast<int32_t>(scaled));
  }
  return m;
}

}  // namespace nibble
