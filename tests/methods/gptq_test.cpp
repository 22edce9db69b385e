#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "methods/curvature.h"
#include "methods/linalg.h"
#include "methods/published_gptq.h"

namespace nibble {
namespace {

using test::Problem;

TEST(FactorUpper, GivesTheMatrixBack) {
  ThreadPool pool(3), one(1);
  for (const int64_t n : {1, 5, 64, 131, 300}) {
    const Problem p = test::make_problem(1, n, 3);
    std::vector<double> a(p.hessian.begin(), p.hessian.end());
    for (int64_t j = 0; j < n; ++j) a[static_cast<size_t>(j * n + j)] += 0.01;
    std::vector<double> r = a, again = a;
    ASSERT_TRUE(linalg::factor_upper(r, n, pool));
    ASSERT_TRUE(linalg::factor_upper(again, n, one));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        double sum = 0;
        for (int64_t k = j; k < n; ++k)
          sum += r[static_cast<size_t>(i * n + k)] * r[static_cast<size_t>(j * n + k)];
        ASSERT_NEAR(sum, a[static_cast<size_t>(i * n + j)], 1e-9 * a[0]) << n << " " << i << " " << j;
        ASSERT_EQ(r[static_cast<size_t>(i * n + j)], again[static_cast<size_t>(i * n + j)]);
      }
    }
  }
}

TEST(FactorUpper, RefusesWhatIsNotPositive) {
  ThreadPool pool(1);
  std::vector<double> a{1, 2, 2, 1};
  EXPECT_FALSE(linalg::factor_upper(a, 2, pool));
  a = {0};
  EXPECT_FALSE(linalg::factor_upper(a, 1, pool));
}

// The theorem that GPTQ is LDLQ, on a grid that both share: one scale for the whole tensor.
TEST(Gptq, EqualsThePublishedAlgorithm) {
  Problem p = test::make_problem(12, 192, 7);
  const Format& format = format_of("int4:tensor:minmax:f32");
  ThreadPool pool(1);
  const QTensor t = test::solve(solver_of("gptq"), format, p, pool, 0, {.damping = 0.01, .passes = 0});
  float most = 0;
  for (const float w : p.weights) most = std::max(most, std::fabs(w));
  const double scale = most / 7;
  const auto expected = test::published_gptq(p, 0.01, false, [scale](int64_t, int64_t, double w) {
                          return std::clamp(std::nearbyint(w / scale), -8.0, 7.0) * scale;
                        }).q;
  const auto got = test::decoded(format, t);
  int64_t different = 0;
  for (size_t i = 0; i < got.size(); ++i) different += std::fabs(got[i] - expected[i]) > 1e-3f * most;
  EXPECT_EQ(different, 0);
}

// Layer errors of a PyTorch program of the published algorithm (tests/data/goldens/gptq/make_reference.py).
TEST(Gptq, LayerErrorsAreThoseOfTheReference) {
  std::ifstream file(std::string(NIBBLE_SOURCE_DIR) + "/tests/data/goldens/gptq/errors.json");
  const auto golden = nlohmann::json::parse(file);
  ThreadPool pool(1);
  for (const auto& g : golden.at("errors")) {
    const Problem p = test::make_problem(g.at("rows"), g.at("cols"), g.at("seed"));
    const std::string word =
        fmt::format("int{}:g{}:asym:f32", g.at("bits").get<int>(), g.at("group").get<int>());
    const Format& plain = format_of(word + ":minmax");
    const Solver& gptq = solver_of("gptq");
    const double reference = g.at("error");
    const auto published = test::solve(gptq, plain, p, pool, 0, {.damping = 0.01, .passes = 0});
    EXPECT_NEAR(test::relative_error(p, test::decoded(plain, published)), reference, 0.01 * reference)
        << word;
    // The searched grid and the descent are what nibble adds to it.
    const Format& searched = format_of(word);
    const auto best = test::solve(gptq, searched, p, pool);
    EXPECT_LT(test::relative_error(p, test::decoded(searched, best)), 0.8 * reference) << word;
  }
}

TEST(Gptq, DescentLowersTheErrorFurther) {
  const Problem p = test::make_problem(16, 256, 11);
  ThreadPool pool(1);
  for (const char* word : {"q4_0", "q2_k", "int3:g64:asym"}) {
    double before = INFINITY;
    for (const int passes : {0, 1, 4}) {
      const QTensor t = test::solve(solver_of("gptq"), format_of(word), p, pool, 0, {.passes = passes});
      const double e = test::relative_error(p, test::decoded(format_of(word), t));
      EXPECT_LT(e, before) << word << " " << passes;
      before = e;
    }
  }
}

TEST(Curvature, RaisesTheDampingUntilTheFactorHoldsAndSaysSo) {
  ThreadPool pool(1);
  // A matrix with one negative eigenvalue, -0.05: x xᵀ of half-precision inputs looks like this.
  const int64_t n = 64;
  std::vector<float> h(static_cast<size_t>(n * n), 1.05f);
  for (int64_t j = 0; j < n; ++j) h[static_cast<size_t>(j * n + j)] = 1.0f;
  const auto c = Curvature::of({{}, h}, {.damping = 0.01}, pool);
  EXPECT_EQ(c->report().raised, 1);
  EXPECT_DOUBLE_EQ(c->report().damping, 0.1);
  const auto zero = Curvature::of({{}, h}, {.damping = 0}, pool);
  EXPECT_GT(zero->report().raised, 1);
  EXPECT_GT(zero->report().damping, 0.05);
}

TEST(Curvature, CountsDeadColumnsWhoseWeightsAreRoundedToTheNearest) {
  Problem p = test::make_problem(4, 128, 13);
  for (int64_t j = 0; j < 128; ++j) {
    p.hessian[static_cast<size_t>(j * 128 + 17)] = 0;
    p.hessian[static_cast<size_t>(17 * 128 + j)] = 0;
  }
  ThreadPool pool(1);
  EXPECT_EQ(Curvature::of({{}, p.hessian}, {}, pool)->report().dead_columns, 1);
  const auto y = test::decoded(format_of("q8_0"), test::solve(solver_of("gptq"), format_of("q8_0"), p, pool));
  for (int64_t r = 0; r < 4; ++r) {
    const auto at = static_cast<size_t>(r * 128 + 17);
    EXPECT_NEAR(y[at], p.weights[at], 5e-4);
  }
}

void expect_refused(std::vector<float> h, const std::string& part) {
  ThreadPool pool(1);
  try {
    Curvature::of({{}, h}, {}, pool);
    FAIL() << "accepted a Hessian, expected: " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_input);
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Curvature, RefusesDamagedStatistics) {
  expect_refused({}, "none was collected");
  expect_refused({1, 0, 0}, "not square");
  expect_refused({1, 0, NAN, 1}, "NaN at input 1, 0");
  expect_refused({1, INFINITY, 0, 1}, "infinity at input 0, 1");
  expect_refused({1, 0, 0, -1}, "negative");
  expect_refused({0, 0, 0, 0}, "never reached");
  expect_refused({1, 5, 5, 1}, "no damping");
}

TEST(Gptq, RefusesAMatrixOfOtherWidth) {
  const Problem narrow = test::make_problem(1, 32, 1);
  Problem wide = test::make_problem(1, 64, 1);
  wide.hessian = narrow.hessian;
  ThreadPool pool(1);
  EXPECT_THROW(test::solve(solver_of("gptq"), format_of("q4_0"), wide, pool), Error);
}

}  // namespace
}  // namespace nibble
