// Static ranges from what was seen, against their definitions on distributions that are known.
#include "calibrate/range_rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace nibble {
namespace {

/// Sequences of one input, seen one by one.
InputStats seen(const std::vector<std::vector<float>>& sequences, int64_t cols, bool histogram = true) {
  ThreadPool pool(1);
  InputStats s;
  s.readers = {"blk.0.attn_q.weight"};
  for (std::vector<float> x : sequences)
    add_rows(s, {x.data(), static_cast<int64_t>(x.size()) / cols, cols}, {.histogram = histogram}, pool);
  finish_stats(s, pool);
  return s;
}

std::vector<float> normal(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(rng.normal());
  return x;
}

TEST(RangeRule, WordsParseAndPrintBack) {
  for (const char* word : {"minmax", "momentum", "percentile=99.9", "std=6", "mse", "entropy"})
    EXPECT_EQ(RangeRule::parse(word).to_string(), word);
  for (const char* bad : {"", "max", "percentile", "percentile=", "percentile=0", "percentile=101", "std=-1",
                          "std=x", "mse=3", "minmax=1", "std=1e999"})
    EXPECT_THROW(RangeRule::parse(bad), Error) << bad;
}

TEST(RangeRule, MinMaxIsAllThatWasSeenAndZero) {
  const InputStats s = seen({{1, 2, 3, 4}, {2, 7, 5, 1}}, 2, false);
  const InputRange r = find_range(RangeRule::parse("minmax"), s, 8, false);
  EXPECT_EQ(r.low, 0);
  EXPECT_EQ(r.high, 7);
}

TEST(RangeRule, MomentumAveragesTheRangesOfSequences) {
  const InputStats s = seen({{-1, 2}, {-3, 12}, {-1, 2}}, 2, false);
  const InputRange r = find_range(RangeRule::parse("momentum"), s, 8, false);
  EXPECT_FLOAT_EQ(r.low, -1 * 0.81f - 3 * 0.09f - 1 * 0.1f);
  EXPECT_FLOAT_EQ(r.high, 2 * 0.81f + 12 * 0.09f + 2 * 0.1f);
}

TEST(RangeRule, PercentilesCutBothTails) {
  std::vector<float> x(10001);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) / 10000 * 4 - 1;  // evenly in [-1, 3]
  const InputRange r = find_range(RangeRule::parse("percentile=90"), seen({x}, 1), 8, true);
  EXPECT_NEAR(r.low, -0.8, 2e-3);
  EXPECT_NEAR(r.high, 2.8, 2e-3);
  const InputRange all = find_range(RangeRule::parse("percentile=100"), seen({x}, 1), 8, true);
  EXPECT_NEAR(all.low, -1, 1e-3);
  EXPECT_NEAR(all.high, 3, 1e-3);
}

TEST(RangeRule, DeviationsStopAtWhatWasSeen) {
  const InputStats s = seen({normal(1 << 14, 3)}, 4, false);
  const InputRange r = find_range(RangeRule::parse("std=2"), s, 8, false);
  EXPECT_NEAR(r.low, -2, 0.06);
  EXPECT_NEAR(r.high, 2, 0.06);
  const InputRange wide = find_range(RangeRule::parse("std=50"), s, 8, false);
  const InputRange all = find_range(RangeRule::parse("minmax"), s, 8, false);
  EXPECT_EQ(wide.low, all.low);
  EXPECT_EQ(wide.high, all.high);
}

TEST(RangeRule, TheLeastSquaredErrorClipsNormalNumbersWhereTheoryDoes) {
  // The best clipping of a normal distribution is 2.55 deviations at 4 bits and 3.92 at 8 bits for grids
  // without their lowest number about as for full ones (Banner, Nahshan and Soudry 2019, table 1: 2.55
  // and 3.92).
  const InputStats s = seen({normal(1 << 18, 5)}, 64);
  EXPECT_NEAR(find_range(RangeRule::parse("mse"), s, 4, false).high, 2.55, 0.3);
  EXPECT_NEAR(find_range(RangeRule::parse("mse"), s, 8, false).high, 3.92, 0.4);
}

TEST(RangeRule, RulesThatClipLeaveASingleOutlierOut) {
  std::vector<float> x = normal(1 << 16, 9);
  x[77] = 400;
  const InputStats s = seen({x}, 64);
  EXPECT_EQ(find_range(RangeRule::parse("minmax"), s, 8, false).high, 400);
  for (const char* word : {"percentile=99.9", "entropy", "std=6"}) {
    const InputRange r = find_range(RangeRule::parse(word), s, 8, false);
    EXPECT_LT(r.high, 40) << word;
    EXPECT_GT(r.high, 2) << word;
  }
  // Squared errors count an outlier, yet a coarser grid for all the others costs more.
  EXPECT_LT(find_range(RangeRule::parse("mse"), s, 8, false).high, 400);
}

TEST(RangeRule, ConstantInputsHaveARange) {
  const InputStats s = seen({std::vector<float>(64, 0.0f)}, 8);
  for (const char* word : {"minmax", "momentum", "percentile=99", "std=3", "mse", "entropy"}) {
    const InputRange r = find_range(RangeRule::parse(word), s, 8, false);
    EXPECT_EQ(r.low, 0) << word;
    EXPECT_EQ(r.high, 0) << word;
  }
}

TEST(RangeRule, WantsTheDistributionWhereItNeedsIt) {
  const InputStats s = seen({{1, 2}}, 2, false);
  for (const char* word : {"percentile=99", "mse", "entropy"})
    EXPECT_THROW(find_range(RangeRule::parse(word), s, 8, false), Error) << word;
  EXPECT_THROW(find_range(RangeRule::parse("minmax"), InputStats(), 8, false), Error);
}

}  // namespace
}  // namespace nibble
