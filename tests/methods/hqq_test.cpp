#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "formats/plain_weights.h"
#include "methods/under_solver.h"

namespace nibble {
namespace {

/// Weighted as both solvers weight errors where there is no data.
double sum_of_errors(const test::Problem& p, const std::vector<float>& y, double power) {
  std::vector<float> w(y.size());
  for (size_t i = 0; i < y.size(); i += 64)
    fitting::plain_weights(std::span(p.weights).subspan(i, 64), nullptr, std::span(w).subspan(i, 64));
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i)
    sum += double{w[i]} * std::pow(std::fabs(double{p.weights[i]} - y[i]), power);
  return sum;
}

// What HQQ is for: a few weights far out must not spoil the grid of the others.
TEST(Hqq, LowersTheErrorOfMostWeightsAmongOutliers) {
  test::Problem p = test::make_problem(32, 256, 21);
  p.importance.clear();  // without data, nearest is what both begin with
  Rng rng(4);
  for (float& w : p.weights) w *= rng.below(64) == 0 ? 4.0f : 1.0f;
  ThreadPool pool(1);
  for (const char* word : {"int4:g64:asym", "int4:g64:asym:zf", "int3:g128", "int3:channel:asym"}) {
    const Format& f = format_of(word);
    const auto nearest = test::decoded(f, test::solve(solver_of("nearest"), f, p, pool));
    const auto hqq = test::decoded(f, test::solve(solver_of("hqq"), f, p, pool));
    EXPECT_LT(sum_of_errors(p, hqq, 0.75), 0.995 * sum_of_errors(p, nearest, 0.75)) << word;
    EXPECT_GT(sum_of_errors(p, hqq, 2), 0.999 * sum_of_errors(p, nearest, 2)) << word;
  }
}

TEST(Hqq, IsNearestWhereNothingCanBeChosen) {
  const test::Problem p = test::make_problem(4, 256, 22);
  ThreadPool pool(1);
  for (const char* word : {"bf16", "int8:tensor"}) {
    const Format& f = format_of(word);
    EXPECT_EQ(test::bytes_of(test::solve(solver_of("hqq"), f, p, pool)),
              test::bytes_of(test::solve(solver_of("nearest"), f, p, pool)))
        << word;
  }
}

}  // namespace
}  // namespace nibble
