#include "ops/head_rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/run_op.h"

namespace nibble {
namespace {

using test::gaussian;

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

TEST(HeadRotation, KeepsProductsAndTurnsBack) {
  for (const int64_t d : {1, 2, 3, 7, 8, 20, 40, 64, 80, 96, 112, 128, 256}) {
    const HeadRotation& r = head_rotation(d);
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

TEST(HeadRotation, SpreadsEveryChannel) {
  for (const int64_t d : {64, 80, 96, 128}) {
    int64_t odd = d;
    while (odd % 2 == 0) odd /= 2;
    for (int64_t c = 0; c < d; ++c) {
      std::vector<float> x(static_cast<size_t>(d));
      x[static_cast<size_t>(c)] = 1;
      head_rotation(d).turn(x.data());
      // Hadamard's entries are all alike; those of the cosine transform at most sqrt 2 of the mean.
      const double limit = (odd == 1 ? 1 : std::sqrt(2.0)) / std::sqrt(double(d)) + 1e-6;
      for (const float v : x) ASSERT_LE(std::fabs(v), limit) << d << " channel " << c;
    }
  }
}

TEST(HeadRotation, SizesWithoutPowersOfTwoAreRefused) {
  EXPECT_THROW(HeadRotation(0), Error);
  EXPECT_THROW(HeadRotation(1031), Error);
  EXPECT_NO_THROW(HeadRotation(2 * 1023));
}

}  // namespace
}  // namespace nibble
