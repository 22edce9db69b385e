#include "model/generate.h"

#include <gtest/gtest.h>

#include "model/embed.h"
#include "model/small_model.h"

namespace nibble {
namespace {

TEST(StopFilter, HoldsBackWhatMayBecomeAStop) {
  StopFilter f({"END", "NDX"});
  EXPECT_EQ(f.push("abcE"), "abc");
  EXPECT_EQ(f.push("N"), "");
  EXPECT_EQ(f.push("x"), "ENx");
  EXPECT_EQ(f.push("more EN"), "more ");
  EXPECT_EQ(f.push("D and after"), "");
  EXPECT_TRUE(f.stopped());
  EXPECT_EQ(f.push("nothing"), "");
}

TEST(StopFilter, TheEarliestStopCountsAndTheRestComesOut) {
  StopFilter f({"bc", "ab"});
  EXPECT_EQ(f.push("xabc"), "x");
  EXPECT_TRUE(f.stopped());
  StopFilter g({"##"});
  EXPECT_EQ(g.push("a#"), "a");
  EXPECT_EQ(g.finish(), "#");
  EXPECT_FALSE(g.stopped());
  StopFilter none({""});
  EXPECT_EQ(none.push("text"), "text");
}

TEST(Pooling, MeanClsLast) {
  const std::vector<float> hidden{1, 2, 3, 6};
  EXPECT_EQ(pool_hidden(hidden, 2, Pooling::mean, false), (std::vector<float>{2, 4}));
  EXPECT_EQ(pool_hidden(hidden, 2, Pooling::cls, false), (std::vector<float>{1, 2}));
  EXPECT_EQ(pool_hidden(hidden, 2, Pooling::last, false), (std::vector<float>{3, 6}));
  EXPECT_EQ(pool_hidden(hidden, 2, Pooling::none, false), hidden);
  const auto unit = pool_hidden({hidden.begin() + 2, hidden.end()}, 2, Pooling::mean, true);
  EXPECT_NEAR(unit[0] * unit[0] + unit[1] * unit[1], 1, 1e-6);
  EXPECT_THROW(pooling_from_name("max"), Error);
}

}  // namespace
}  // namespace nibble
