#include "kernels/fixed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"

namespace nibble {
namespace {

TEST(Fixed, FloatsBecomeTheNearestMantissas) {
  for (const double x : {1.0, -3.0, 0.1, 1e-30, 6.02e23, -1e-300}) {
    const Dyadic d = to_dyadic(x, "x");
    EXPECT_GE(std::abs(d.mantissa), 1 << 29) << x;
    EXPECT_LE(std::abs(d.mantissa), 1 << 30) << x;
    EXPECT_NEAR(std::ldexp(d.mantissa, d.exponent) / x, 1, std::ldexp(1, -30)) << x;
  }
  EXPECT_EQ(to_dyadic(0, "x").mantissa, 0);
  const std::vector<double> x{0.5, -7, 1e-9, 0};
  const FixedVector f = to_fixed(x, 22, "x");
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(std::ldexp(f.mantissas[i], f.exponent), x[i], std::ldexp(8, -23)) << i;
  for (const double bad : {double{NAN}, double{INFINITY}}) {
    EXPECT_THROW(to_dyadic(bad, "x"), Error);
    EXPECT_THROW(to_fixed(std::vector<double>{1, bad}, 22, "x"), Error);
  }
  EXPECT_THROW(to_fixed_with(std::vector<double>{4}, -30, "x"), Error);
}

TEST(Fixed, ShiftsRound) {
  EXPECT_EQ(shift_right(5, 0), 5);
  EXPECT_EQ(shift_right(5, 1), 3);
  EXPECT_EQ(shift_right(-5, 1), -2);
  EXPECT_EQ(shift_right(-6, 2), -1);
  EXPECT_EQ(shift_right(INT64_MAX, 62), 2);
  EXPECT_EQ(room_above(0), 0);
  EXPECT_EQ(room_above(1), 29);
  EXPECT_EQ(room_above((1u << 30) - 1), 0);
  EXPECT_EQ(room_above(1u << 30), -1);
  EXPECT_EQ(room_above(1000, 15), 5);
}

double value(Wide w) { return std::ldexp(static_cast<double>(w.mantissa), w.exponent); }

TEST(Fixed, InverseSquareRootsOfAllSizes) {
  Rng rng(1);
  for (int i = 0; i < 5000; ++i) {
    const uint64_t x = (rng.next() >> rng.below(63)) | 1;
    const auto exponent = static_cast<int>(rng.below(400)) - 200;
    const Wide w = widen(x, exponent);
    ASSERT_NEAR(value(w) / std::ldexp(static_cast<double>(x), exponent), 1, 1e-15);
    const Dyadic d = inverse_square_root(w);
    ASSERT_LE(d.mantissa, 1 << 30);
    ASSERT_GE(d.mantissa, 1 << 29);
    ASSERT_NEAR(std::ldexp(d.mantissa, d.exponent) * std::sqrt(value(w)), 1, std::ldexp(1, -28))
        << x << " " << exponent;
  }
}

TEST(Fixed, WideSumsAndQuotients) {
  const Wide a = widen(3, 10), b = widen(5, -90), zero = widen(0, 7);
  EXPECT_EQ(value(add(a, b)), 3072);  // the other is too small to be seen
  EXPECT_EQ(value(add(a, zero)), 3072);
  EXPECT_EQ(value(add(zero, b)), value(b));
  EXPECT_EQ(value(add(a, widen(1, 0))), 3073);
  EXPECT_EQ(value(add(widen(1, 0), a)), 3073);
  EXPECT_NEAR(value(divide(a, 7)), 3072.0 / 7, 1e-12);
}

TEST(Fixed, DirectionsOfEveryTurn) {
  Rng rng(2);
  for (int i = 0; i < 20000; ++i) {
    // The borders of the eighths, then anything.
    const uint64_t turn = i < 64 ? (uint64_t(i / 4) << 60) + static_cast<uint64_t>(i % 4 - 1) : rng.next();
    const double angle = 2 * std::numbers::pi * std::ldexp(static_cast<double>(turn >> 11), -53);
    const Direction d = direction(turn);
    ASSERT_NEAR(std::ldexp(d.cosine, -30), std::cos(angle), 3 * std::ldexp(1, -30)) << turn;
    ASSERT_NEAR(std::ldexp(d.sine, -30), std::sin(angle), 3 * std::ldexp(1, -30)) << turn;
    ASSERT_LE(std::abs(d.cosine), 1 << 30);
    ASSERT_LE(std::abs(d.sine), 1 << 30);
  }
}

}  // namespace
}  // namespace nibble
