// Counting the borders below a number and halving between them say the same.
#include "formats/nearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace nibble {
namespace {

TEST(Nearest, ManyAtOnceAreWhatTheyAreOneByOne) {
  Rng rng(3);
  for (const int count : {1, 2, 3, 8, 15, 16, 17, 18, 40}) {
    std::vector<float> levels;
    for (int i = 0; i < count; ++i) levels.push_back(static_cast<float>(rng.normal()));
    if (count > 3) levels[1] = levels[0];  // two alike
    std::sort(levels.begin(), levels.end());
    Nearest<64> nearest;
    nearest.set(levels.data(), count);
    std::vector<float> x;
    for (int i = 0; i + 1 < count; ++i) {
      x.push_back(nearest.borders[i]);  // goes to the lower one
      x.push_back(std::nextafter(nearest.borders[i], 10.0f));
    }
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float v : {infinity, -infinity, 0.0f, -0.0f, std::numeric_limits<float>::quiet_NaN()})
      x.push_back(v);
    for (int i = 0; i < 150; ++i) x.push_back(static_cast<float>(rng.normal()) * 2);
    for (const float factor : {1.0f, 0.37f}) {
      for (const size_t n :
           {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{63}, size_t{64}, size_t{65}, x.size()}) {
        if (n > x.size()) continue;
        std::vector<int32_t> at(n + 1, -7);
        nearest.indices(x.data(), factor, static_cast<int64_t>(n), at.data());
        for (size_t i = 0; i < n; ++i)
          ASSERT_EQ(at[i], nearest.index(x[i] * factor)) << count << " levels, " << x[i];
        EXPECT_EQ(at[n], -7);
      }
    }
  }
}

}  // namespace
}  // namespace nibble
