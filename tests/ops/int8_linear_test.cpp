#include "ops/int8_linear.h"

#include <gtest/gtest.h>

#include "run_op.h"

namespace nibble {
namespace {

TEST(ActivationScheme, WordsSayWhatTheyMean) {
  for (const char* word : {"int8", "int8:asym", "int8:tensor", "int8:static:asym", "int4", "int8:adaptive",
                           "int8:outliers=6", "float", "int6:tensor:asym:outliers=2.5"})
    EXPECT_EQ(ActivationScheme::parse(word).to_string(), word);
  EXPECT_EQ(ActivationScheme::parse("INT8:token").to_string(), "int8");
  for (const char* word :
       {"int9", "int1", "int8:channel", "f16", "", "int8:outliers=", "int8:outliers=0", "int8:outliers=-2",
        "int8:outliers=6x", "int8:outliers=nan", "int8:outliers=inf", "int88", "float:asym"})
    EXPECT_THROW(ActivationScheme::parse(word), Error) << word;
}

Int8LinearAttributes attributes(const ActivationScheme& scheme, int64_t first, int64_t rows, int64_t all) {
  return {LinearAttributes{first, rows, all}, scheme.grid(), nullptr, nullptr, {}};
}

TEST(Int8Linear, WholeNumbersAndRoundedFloatsAgree) {
  ThreadPool pool(2);
  const std::vector<int32_t> tokens(5);
  RunContext context{pool, tokens, {}, {}, {}, {}, nullptr, false};
  const auto w = test::weight("w", {12, 64}, test::gaussian(12 * 64, 1), "int8:channel");
  const auto bias = test::weight("b", {12}, test::gaussian(12, 2));
  const test::Input x{test::gaussian(5 * 64, 3), 64};
  for (const char* word : {"int8", "int8:asym", "int8:tensor", "int4", "int8:outliers=1.5"}) {
    Int8LinearAttributes a = attributes(ActivationScheme::parse(word), 4, 7, 12);
    const auto rounded = test::run_op(int8_linear_op, context, {x}, {w, bias}, a);
    a.matrix = std::make_shared<Int8Matrix>(*w->matrix, 4, 7, pool);
    const auto whole = test::run_op(int8_linear_op, context, {x}, {w, bias}, a);
    const auto floats = test::run_op(linear_op, context, {x}, {w, bias}, LinearAttributes{4, 7, 12});
    double noise = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      ASSERT_NEAR(whole[i], rounded[i], 1e-4) << word;
      noise = std::max(noise, std::fabs(double{whole[i]} - floats[i]));
    }
    EXPECT_GT(noise, 1e-4) << word;
    EXPECT_LT(noise, word == std::string("int4") ? 4 : 0.4) << word;
  }
}

TEST(Int8Linear, RunningRangesFollowWhatIsSeen) {
  ThreadPool pool(1);
  const std::vector<int32_t> tokens(1);
  RunContext context{pool, tokens, {}, {}, {}, {}, nullptr, false};
  const auto w = test::weight("w", {1, 2}, {1, 0}, "f32");
  Int8LinearAttributes a = attributes(ActivationScheme::parse("int8:adaptive"), 0, 1, 1);
  a.running = std::make_shared<RunningRange>();
  const auto see = [&](float x) { return test::run_op(int8_linear_op, context, {{{x, 0}, 2}}, {w}, a)[0]; };
  EXPECT_FLOAT_EQ(see(1), 1);
  EXPECT_FLOAT_EQ(see(11), 2);  // 1 + (11 - 1) / 10 is all there is room for
  for (int i = 0; i < 200; ++i) see(11);
  EXPECT_NEAR(see(11), 11, 1e-3);
  for (int i = 0; i < 200; ++i) see(0.5f);
  EXPECT_NEAR(see(0.5f), 0.5, 1e-4);
}

TEST(Int8Linear, RefusesWeightsOfAnotherShape) {
  ThreadPool pool(1);
  const auto w = test::weight("w", {4, 32}, test::gaussian(128, 1), "int8:channel");
  Node node{&int8_linear_op, "node", {}, {}, {w}, attributes({}, 0, 4, 4)};
  const Extent narrow{RowSet::all, 31};
  EXPECT_THROW(int8_linear_op.shape(node, {&narrow, 1}), Error);
}

}  // namespace
}  // namespace nibble
