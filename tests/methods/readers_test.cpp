#include "methods/readers.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "methods/under_solver.h"

namespace nibble {
namespace {

// Looked-up rows rounded against their readers disturb what the readers give less than rows rounded to the
// nearest.
TEST(ReaderHessian, MeasuresWhatReadersSee) {
  constexpr int64_t cols = 64, outputs = 96, tokens = 40;
  Rng rng(5);
  std::vector<float> w(outputs * cols), gain(cols);
  for (int64_t r = 0; r < outputs; ++r) {
    double walk = 0;  // neighbouring columns are alike, so that errors can make up for each other
    for (int64_t j = 0; j < cols; ++j) {
      walk = 0.9 * walk + rng.normal();
      w[static_cast<size_t>(r * cols + j)] = static_cast<float>(walk);
    }
  }
  for (float& g : gain) g = static_cast<float>(0.5 + rng.uniform());
  ThreadPool one(1), three(3);
  ReaderHessian readers(cols), split(cols);
  readers.add(w, gain, three);
  split.add(std::span(w).first(32 * cols), gain, one);
  split.add(std::span(w).subspan(32 * cols), gain, one);
  EXPECT_EQ(readers.hessian(), split.hessian());

  test::Problem p{Shape{tokens, cols}, {}, readers.hessian(), {}};
  for (int64_t i = 0; i < tokens * cols; ++i) p.weights.push_back(static_cast<float>(rng.normal()));
  const Format& format = format_of("q4_0");
  const auto seen = [&](const std::vector<float>& y) {
    double sum = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < outputs; ++r) {
        double out = 0;
        for (int64_t j = 0; j < cols; ++j) {
          const auto at = static_cast<size_t>(t * cols + j);
          out += double{w[static_cast<size_t>(r * cols + j)]} * gain[static_cast<size_t>(j)] *
                 (double{p.weights[at]} - y[at]);
        }
        sum += out * out;
      }
    }
    return sum;
  };
  const auto gptq = test::decoded(format, test::solve(solver_of("gptq"), format, p, one));
  const auto nearest = test::decoded(format, test::solve(solver_of("nearest"), format, p, one));
  EXPECT_LT(seen(gptq), 0.6 * seen(nearest));
}

TEST(ReaderHessian, RefusesSizesThatDoNotFit) {
  ThreadPool pool(1);
  ReaderHessian readers(4);
  const std::vector<float> w(10), gain(3);
  EXPECT_THROW(readers.add(w, {}, pool), Error);
  EXPECT_THROW(readers.add(std::span(w).first(8), gain, pool), Error);
}

}  // namespace
}  // namespace nibble
