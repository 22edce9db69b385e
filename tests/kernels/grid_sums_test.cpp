// Sums over a uniform grid at every level: to the bit those of eight lanes taken one after the other.
#include "formats/grid_sums.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/levels.h"
#include "support/gaussian.h"

namespace nibble {
namespace {

using test::gaussian;

/// As grid_sums.h says it, a weight at a time.
GridTotals one_by_one(const GridTask& t) {
  double total[6] = {};
  for (int64_t begin = 0; begin < t.n; begin += 4096) {
    float lane[6][fitting::grid_lanes] = {};
    for (int64_t i = begin; i < std::min(t.n, begin + 4096); ++i) {
      const float at = t.x[i] * t.inverse + t.shift;
      const float q = std::nearbyint(std::min(std::max(at, t.low), t.high)), r = at - q;
      const float weight = t.weight != nullptr ? t.weight[i] : 1.0f;
      const float wr = weight * r, wq = weight * q;
      const float terms[6] = {wr * r, wr * q, wq * q, wr, wq, weight};
      for (size_t k = 0; k < 6; ++k) lane[k][(i - begin) % fitting::grid_lanes] += terms[k];
    }
    for (size_t k = 0; k < 6; ++k) {
      double sum = 0;
      for (const float v : lane[k]) sum += double{v};
      total[k] += sum;
    }
  }
  if (!t.shifted) return {total[0], total[1], total[2], 0, 0, 0};
  return {total[0], total[1], total[2], total[3], total[4], total[5]};
}

TEST(GridSums, AreThoseOfEightLanesAtEveryLevel) {
  const auto x = gaussian(9003, 1), noise = gaussian(9003, 2);
  std::vector<float> weight;
  for (const float v : noise) weight.push_back(std::fabs(v));
  for (const IsaLevel level : isa_levels()) {
    const GridSums sums = level_kernels(level).encode->grid;
    for (const int64_t n : {0, 1, 7, 8, 9, 64, 100, 128, 4095, 4096, 4097, 9003}) {
      for (const float* w : {static_cast<const float*>(nullptr), std::as_const(weight).data()}) {
        for (const bool shifted : {false, true}) {
          const GridTask t{x.data(), w, n, 3.7f, shifted ? 0.3f : 0.0f, -8, 7, shifted};
          const GridTotals got = sums(t), want = one_by_one(t);
          SCOPED_TRACE(fmt::format("{}, {} weights, {}{}", isa_name(level), n,
                                   w != nullptr ? "weighted" : "all alike", shifted ? ", shifted" : ""));
          EXPECT_EQ(got.rr, want.rr);
          EXPECT_EQ(got.rq, want.rq);
          EXPECT_EQ(got.qq, want.qq);
          EXPECT_EQ(got.r, want.r);
          EXPECT_EQ(got.q, want.q);
          EXPECT_EQ(got.weight, want.weight);
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble
