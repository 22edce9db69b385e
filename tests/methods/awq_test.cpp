#include <gtest/gtest.h>

#include <cmath>

#include "methods/transforms/channel_scales.h"
#include "methods/under_solver.h"

namespace nibble {
namespace {

// A few loud inputs, as language models have them: scaling up their columns pays.
test::Problem loud_problem() {
  test::Problem p = test::make_problem(48, 256, 41);
  for (size_t j = 0; j < 256; ++j) {
    const float loud = j % 64 == 9 ? 20.0f : 1.0f;
    p.importance[j] *= loud * loud;
    for (size_t i = 0; i < 256; ++i) {
      p.hessian[i * 256 + j] *= loud;
      p.hessian[j * 256 + i] *= loud;
    }
  }
  return p;
}

TEST(Awq, FindsScalesThatLowerTheError) {
  const test::Problem p = loud_problem();
  const Format& f = format_of("int3:g128:asym");
  const ScaledReader readers[] = {{std::span(p.weights).first(16 * 256), f},
                                  {std::span(p.weights).subspan(16 * 256), f}};
  ThreadPool one(1), three(3);
  const ChannelScales found = search_awq_scales(readers, {p.importance, p.hessian}, one);
  EXPECT_GT(found.exponent, 0);
  EXPECT_LT(found.error, 0.9 * found.unscaled_error);
  EXPECT_GT(found.scale[9], found.scale[10]);
  EXPECT_EQ(search_awq_scales(readers, {p.importance, p.hessian}, three).scale, found.scale);
  // Without the Hessian, the importance alone decides.
  const ChannelScales diagonal = search_awq_scales(readers, {p.importance, {}}, one);
  EXPECT_LT(diagonal.error, diagonal.unscaled_error);

  // What the search promises is what rounding gives.
  std::vector<float> scaled = p.weights;
  multiply_columns(scaled, found.scale);
  std::vector<float> importance = p.importance;
  for (size_t j = 0; j < 256; ++j) importance[j] /= found.scale[j] * found.scale[j];
  auto y = test::decoded(f, encode_nearest(f, p.shape, scaled, importance));
  for (size_t i = 0; i < y.size(); ++i) y[i] /= found.scale[i % 256];
  const auto plain = test::decoded(f, encode_nearest(f, p.shape, p.weights, p.importance));
  EXPECT_NEAR(test::relative_error(p, y) / test::relative_error(p, plain), found.error / found.unscaled_error,
              1e-3);
}

TEST(Awq, LeavesEvenInputsAlone) {
  test::Problem p = test::make_problem(16, 256, 42);
  std::fill(p.importance.begin(), p.importance.end(), 1.0f);
  const ScaledReader readers[] = {{p.weights, format_of("int4:g128")}};
  ThreadPool pool(1);
  const ChannelScales found = search_awq_scales(readers, {p.importance, {}}, pool);
  EXPECT_EQ(found.exponent, 0);
  for (const float s : found.scale) EXPECT_EQ(s, 1.0f);
}

TEST(Awq, KeepsTheFunction) {
  const test::Problem p = loud_problem();
  const ScaledReader readers[] = {{p.weights, format_of("int3:g128")}};
  ThreadPool pool(1);
  const auto scale = search_awq_scales(readers, {p.importance, {}}, pool).scale;
  // maker [256, 8], then reader [48, 256]
  std::vector<float> maker(256 * 8), reader = p.weights;
  for (size_t i = 0; i < maker.size(); ++i) maker[i] = static_cast<float>(std::sin(static_cast<double>(i)));
  std::vector<float> scaled_maker = maker;
  multiply_columns(reader, scale);
  divide_rows(scaled_maker, scale);
  for (size_t r = 0; r < 48; ++r) {
    for (size_t c = 0; c < 8; ++c) {
      double before = 0, after = 0;
      for (size_t j = 0; j < 256; ++j) {
        before += double{p.weights[r * 256 + j]} * maker[j * 8 + c];
        after += double{reader[r * 256 + j]} * scaled_maker[j * 8 + c];
      }
      EXPECT_NEAR(before, after, 1e-6);
    }
  }
}

TEST(Awq, RefusesWhatDoesNotFit) {
  const test::Problem p = test::make_problem(2, 128, 43);
  const ScaledReader readers[] = {{p.weights, format_of("int4:g128")}};
  ThreadPool pool(1);
  EXPECT_THROW(search_awq_scales(readers, {}, pool), Error);
  const std::vector<float> narrow(100, 1.0f), damaged(128, NAN);
  EXPECT_THROW(search_awq_scales(readers, {narrow, {}}, pool), Error);
  EXPECT_THROW(search_awq_scales(readers, {damaged, {}}, pool), Error);
  EXPECT_THROW(search_awq_scales(readers, {p.importance, narrow}, pool), Error);
}

}  // namespace
}  // namespace nibble
