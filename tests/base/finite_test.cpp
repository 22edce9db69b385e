#include "base/finite.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

namespace nibble {
namespace {

TEST(AllFinite, FindsOneBadNumberAnywhere) {
  using L = std::numeric_limits<float>;
  std::vector<float> x = {0.0f, -0.0f, L::max(), L::lowest(), L::denorm_min(), 1.0f};
  x.resize(37, -2.5f);
  ASSERT_TRUE(all_finite(x.data(), x.size()));
  for (const float bad :
       {L::infinity(), -L::infinity(), L::quiet_NaN(), -L::quiet_NaN(), L::signaling_NaN()}) {
    for (float& v : x) {
      const float kept = std::exchange(v, bad);
      EXPECT_FALSE(all_finite(x.data(), x.size())) << bad << " at " << &v - x.data();
      v = kept;
    }
  }
  EXPECT_TRUE(all_finite(nullptr, 0));
}

}  // namespace
}  // namespace nibble
