#include "pipeline/recipe.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace nibble {
namespace {

TEST(Recipe, PatternsCoverWholeNamesWithOrWithoutWeight) {
  EXPECT_TRUE(name_matches("lm_head", "lm_head.weight"));
  EXPECT_TRUE(name_matches("lm_head.weight", "lm_head.weight"));
  EXPECT_TRUE(name_matches("*norm*", "blk.0.attn_norm.weight"));
  EXPECT_TRUE(name_matches("blk.[01].*", "blk.1.ffn_up.weight"));
  EXPECT_FALSE(name_matches("blk.[01].*", "blk.2.ffn_up.weight"));
  EXPECT_FALSE(name_matches("norm", "blk.0.attn_norm.weight"));
}

TEST(Recipe, OverridesSplitAtTheLastEqualsSign) {
  const auto o = parse_override("*.down_proj=int8:channel");
  EXPECT_EQ(o.pattern, "*.down_proj");
  EXPECT_EQ(o.format, "int8:channel");
  for (const char* bad : {"", "x", "=q4_0", "x="}) EXPECT_THROW(parse_override(bad), Error) << bad;
}

TEST(Recipe, SaysItAllInOneLine) {
  Recipe a;
  a.type = "q4_k_m";
  Recipe b = a;
  EXPECT_EQ(a.to_string(), b.to_string());
  b.overrides.push_back({"x", "q8_0"});
  EXPECT_NE(a.to_string(), b.to_string());
}

}  // namespace
}  // namespace nibble
