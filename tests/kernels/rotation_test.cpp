#include "kernels/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "support/gaussian.h"

namespace nibble {
namespace {

using test::gaussian;

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

TEST(FixedRotation, KeepsProductsAndTurnsBack) {
  for (const int64_t d : {1, 2, 3, 7, 8, 20, 40, 64, 80, 96, 112, 128, 256}) {
    const FastRotation<float>& r = fixed_rotation(d);
    const auto a = gaussian(d, 1), b = gaussian(d, 2);
    auto x = a, y = b;
    r.turn(x.data());
    r.turn(y.data());
    const double size = std::sqrt(dot(a, a) * dot(b, b));
    EXPECT_NEAR(dot(x, y), dot(a, b), 1e-5 * size) << d;
    EXPECT_TRUE(d < 3 || x != a) << d;
    r.turn_back(x.data());
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], a[i], 1e-5) << d;
  }
}

TEST(FixedRotation, SpreadsEveryChannel) {
  for (const int64_t d : {64, 80, 96, 128}) {
    int64_t odd = d;
    while (odd % 2 == 0) odd /= 2;
    for (int64_t c = 0; c < d; ++c) {
      std::vector<float> x(static_cast<size_t>(d));
      x[static_cast<size_t>(c)] = 1;
      fixed_rotation(d).turn(x.data());
      // Hadamard's entries are all alike; those of the cosine transform at most sqrt 2 of the mean.
      const double limit = (odd == 1 ? 1 : std::sqrt(2.0)) / std::sqrt(double(d)) + 1e-6;
      for (const float v : x) ASSERT_LE(std::fabs(v), limit) << d << " channel " << c;
    }
  }
}

TEST(FixedRotation, IsTheOneThatFilesWereTurnedBy) {
  // Of 1, 2, 3 ..., from a few lines of Python after the description.
  const std::vector<std::vector<double>> expected{
      {0.70711, -4.94975, 4.94975, 4.94975, -7.77817, 6.36396, -2.12132, -4.94975},
      {-2.3094, 3.4641, 12.12436, -9.81495, 0.0, 2.82843, -15.55635, -1.41421, -1.63299, 0.0, 7.34847,
       8.98146}};
  for (const auto& e : expected) {
    std::vector<float> x(e.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
    fixed_rotation(static_cast<int64_t>(x.size())).turn(x.data());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], e[i], 2e-5) << i;
  }
}

TEST(FixedRotation, SizesWithoutPowersOfTwoAreRefused) {
  EXPECT_THROW(fixed_rotation(0), Error);
  EXPECT_THROW(fixed_rotation(5003), Error);
  EXPECT_NO_THROW(fixed_rotation(2 * 1023));
}

TEST(FastRotation, MixesAsItWasTold) {
  // (x0 + x1, x0 - x1) / sqrt 2 of each of three pairs, then the pairs change places.
  const std::vector<double> signs{1, 1, 1, -1, 1, 1};
  const FastRotation<double> r(signs, {0, 1, 0, 0, 0, 1, 1, 0, 0});
  std::vector<double> x{1, 2, 3, 4, 5, 6};
  r.turn(x.data());
  const double u = 1 / std::sqrt(2.0);
  const std::vector<double> expected{11 * u, -1 * u, 3 * u, -1 * u, -1 * u, 7 * u};
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i], 1e-12) << i;
  r.turn_back(x.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], static_cast<double>(i + 1), 1e-12);
  EXPECT_THROW(FastRotation<double>(signs, {1}), Error);
}

}  // namespace
}  // namespace nibble
