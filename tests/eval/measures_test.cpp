#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "eval/distortion.h"
#include "eval/divergence.h"
#include "eval/evaluate.h"

namespace nibble {
namespace {

TEST(Divergence, HandComputedRow) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2)
  const float p[] = {std::log(2.0f), 0, 0}, q[] = {0, 0, std::log(2.0f)};
  Divergence d;
  d.add(q, p, 0);
  EXPECT_NEAR(d.mean_kl().value, 0.5 * std::log(2.0) + 0.25 * std::log(0.5), 1e-6);
  EXPECT_NEAR(d.perplexity().value, 4, 1e-5);
  EXPECT_NEAR(d.reference_perplexity().value, 2, 1e-5);
  EXPECT_NEAR(d.perplexity_ratio().value, 2, 1e-5);
  EXPECT_NEAR(d.mean_delta_p().value, -0.25, 1e-6);
  EXPECT_EQ(d.same_top().value, 0);
}

TEST(Divergence, EqualModelsDoNotDiverge) {
  Rng rng(1);
  Divergence d;
  for (int i = 0; i < 50; ++i) {
    std::vector<float> row(100);
    for (float& v : row) v = static_cast<float>(rng.normal() * 5);
    d.add(row, row, static_cast<int32_t>(rng.below(100)));
  }
  EXPECT_EQ(d.mean_kl().value, 0);
  EXPECT_EQ(d.same_top().value, 1);
  EXPECT_EQ(d.perplexity_ratio().value, 1);
  EXPECT_EQ(d.rms_delta_p().value, 0);
}

TEST(Divergence, StandardErrorsCoverTheSpread) {
  // The mean of many repetitions must scatter as each repetition's standard error says.
  Rng rng(2);
  double sum = 0, squares = 0, claimed = 0;
  constexpr int repetitions = 300;
  for (int k = 0; k < repetitions; ++k) {
    Divergence d;
    for (int i = 0; i < 100; ++i) {
      float p[8], q[8];
      for (int j = 0; j < 8; ++j) {
        p[j] = static_cast<float>(rng.normal());
        q[j] = p[j] + static_cast<float>(rng.normal() * 0.3);
      }
      d.add(q, p, 3);
    }
    sum += d.mean_kl().value;
    squares += d.mean_kl().value * d.mean_kl().value;
    claimed += d.mean_kl().error;
  }
  const double mean = sum / repetitions;
  const double spread = std::sqrt(squares / repetitions - mean * mean);
  EXPECT_NEAR(claimed / repetitions, spread, 0.15 * spread);
}

TEST(Divergence, Quantiles) {
  Divergence d;
  // Rows (0, x) against (0, 0) have growing divergence; the quantiles must be those of the rows.
  std::vector<double> kl;
  for (int i = 1; i <= 100; ++i) {
    const float p[] = {0, 0}, q[] = {0, static_cast<float>(i) * 0.05f};
    d.add(q, p, 0);
    Divergence one;
    one.add(q, p, 0);
    kl.push_back(one.mean_kl().value);
  }
  EXPECT_EQ(d.kl_quantile(0.5).value, kl[50]);
  EXPECT_EQ(d.kl_quantile(0.99).value, kl[99]);
  EXPECT_EQ(d.max_kl(), kl.back());
}

TEST(Divergence, RefusesNonsense) {
  const float row[] = {0, std::numeric_limits<float>::quiet_NaN()}, good[] = {0, 1};
  Divergence d;
  EXPECT_THROW(d.add(row, 0), Error);
  EXPECT_THROW(d.add(good, 2), Error);
  EXPECT_THROW(d.add(good, -1), Error);
}

TEST(Distortion, HandComputed) {
  Distortion d;
  const float x[] = {3, 4}, y[] = {3, 2};
  d.add(x, y);
  EXPECT_DOUBLE_EQ(d.rmse(), std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(d.relative_error(), 2.0 / 5.0);
  EXPECT_DOUBLE_EQ(d.max_error(), 2);
  EXPECT_DOUBLE_EQ(d.sqnr_db(), 10 * std::log10(25.0 / 4));
  EXPECT_DOUBLE_EQ(d.cosine(), 17 / (5 * std::sqrt(13.0)));
  Distortion parts, rest;
  parts.add({x, 1}, {y, 1});
  rest.add({x + 1, 1}, {y + 1, 1});
  parts.merge(rest);
  EXPECT_DOUBLE_EQ(parts.rmse(), d.rmse());
  EXPECT_DOUBLE_EQ(parts.cosine(), d.cosine());
}

TEST(Protocol, ChunksAreDisjointAndBeginWithBos) {
  std::vector<int32_t> text(100);
  for (int i = 0; i < 100; ++i) text[static_cast<size_t>(i)] = i;
  Protocol p;
  p.context = 16;
  const auto windows = cut_windows(text, 77, p);
  ASSERT_EQ(windows.size(), 6u);
  EXPECT_EQ(windows[2].tokens.front(), 77);
  EXPECT_EQ(windows[2].tokens[1], 33);
  EXPECT_EQ(windows[2].first, 8);
  p.max_windows = 2;
  EXPECT_EQ(cut_windows(text, 77, p).size(), 2u);
  p.context = 101;
  EXPECT_THROW(cut_windows(text, 77, p), Error);
}

TEST(Protocol, StridesScoreEveryTokenOnce) {
  std::vector<int32_t> text(103);
  for (int i = 0; i < 103; ++i) text[static_cast<size_t>(i)] = i;
  Protocol p;
  p.kind = Protocol::Kind::stride;
  p.context = 20;
  for (const int64_t stride : {1, 7, 10, 19}) {
    p.stride = stride;
    std::vector<int> scored(103);
    for (const EvalWindow& w : cut_windows(text, std::nullopt, p)) {
      for (size_t row = static_cast<size_t>(w.first); row + 1 < w.tokens.size(); ++row) {
        ++scored[static_cast<size_t>(w.tokens[row + 1])];
        EXPECT_TRUE(w.tokens[0] == 0 || static_cast<int64_t>(row) + 1 >= p.context - stride);
      }
    }
    EXPECT_EQ(scored[0], 0);
    for (int i = 1; i < 103; ++i)
      EXPECT_EQ(scored[static_cast<size_t>(i)], 1) << "token " << i << " stride " << stride;
  }
}

// Predicts the next token of a cycle with a given certainty.
class Cycle final : public Predictor {
 public:
  explicit Cycle(float certainty) : certainty_(certainty) {}
  int64_t vocab() const override { return 10; }
  void run(std::span<const int32_t> tokens) override { tokens_.assign(tokens.begin(), tokens.end()); }
  void logits(int64_t row, int64_t n, float* out) override {
    std::fill_n(out, n * 10, 0.0f);
    for (int64_t i = 0; i < n; ++i)
      out[i * 10 + (tokens_[static_cast<size_t>(row + i)] + 1) % 10] = certainty_;
  }

 private:
  float certainty_;
  std::vector<int32_t> tokens_;
};

TEST(Evaluate, RunsModelsBesideTheReference) {
  std::vector<int32_t> text(200);
  for (int i = 0; i < 200; ++i) text[static_cast<size_t>(i)] = i % 10;
  Protocol p;
  p.context = 40;
  Cycle reference(3), same(3), other(2);
  Predictor* const models[] = {&same, &other};
  int64_t steps = 0;
  const auto results =
      evaluate(models, &reference, cut_windows(text, std::nullopt, p), [&](int64_t n) { steps += n; });
  EXPECT_EQ(steps, 5 * 19);
  EXPECT_EQ(results[0].tokens(), 5 * 19);
  EXPECT_EQ(results[0].mean_kl().value, 0);
  EXPECT_GT(results[1].mean_kl().value, 0);
  EXPECT_NEAR(results[0].perplexity().value, (std::exp(3.0) + 9) / std::exp(3.0), 1e-6);
  EXPECT_EQ(results[1].same_top().value, 1);
}

}  // namespace
}  // namespace nibble
