#include "model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"

namespace nibble {
namespace {

SamplingOptions plain() {
  SamplingOptions o;
  o.temperature = 1;
  o.top_k = 0;
  o.top_p = 1;
  o.min_p = 0;
  o.seed = 3;
  return o;
}

std::map<int32_t, int> draw(const SamplingOptions& options, const std::vector<float>& logits, int n) {
  Sampler sampler(options);
  std::map<int32_t, int> count;
  for (int i = 0; i < n; ++i) ++count[sampler.next(logits)];
  return count;
}

const std::vector<float> fixed{std::log(0.5f), std::log(0.25f), std::log(0.15f), std::log(0.1f)};

TEST(Sampler, DrawsInProportion) {
  const int n = 20000;
  auto count = draw(plain(), fixed, n);
  const double p[] = {0.5, 0.25, 0.15, 0.1};
  for (int i = 0; i < 4; ++i) {
    // Five standard deviations of a binomial count.
    EXPECT_NEAR(count[i], n * p[i], 5 * std::sqrt(n * p[i] * (1 - p[i]))) << i;
  }
}

TEST(Sampler, TemperatureSharpens) {
  SamplingOptions o = plain();
  o.temperature = 0.5;  // probabilities squared, then normalized: 0.25 of 0.345
  const int n = 20000;
  const double p = 0.25 / (0.25 + 0.0625 + 0.0225 + 0.01);
  EXPECT_NEAR(draw(o, fixed, n)[0], n * p, 5 * std::sqrt(n * p * (1 - p)));
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOfEquals) {
  SamplingOptions o = plain();
  o.temperature = 0;
  EXPECT_EQ(Sampler(o).next(std::vector<float>{1, 5, 5, 2}), 1);
}

TEST(Sampler, CutsKeepTheHeadOfTheDistribution) {
  SamplingOptions o = plain();
  o.top_k = 2;
  EXPECT_EQ(draw(o, fixed, 500).size(), 2u);
  o = plain();
  o.top_p = 0.7;  // 0.5 is not enough, 0.75 is
  EXPECT_EQ(draw(o, fixed, 500).size(), 2u);
  o = plain();
  o.min_p = 0.25;  // relative to 0.5: keeps 0.25 and 0.15, not 0.1
  EXPECT_EQ(draw(o, fixed, 2000).size(), 3u);
  o = plain();
  o.top_k = 1;
  EXPECT_EQ(draw(o, fixed, 50).size(), 1u);
  o = plain();
  o.top_p = 1e-9;  // one token always stays
  EXPECT_EQ(draw(o, fixed, 50).size(), 1u);
}

TEST(Sampler, PenaltyPushesRecentTokensDown) {
  SamplingOptions o = plain();
  o.temperature = 0;
  o.repeat_penalty = 2;
  o.repeat_last = 2;
  Sampler s(o);
  const std::vector<float> logits{4, 3, -1, -1.5};
  EXPECT_EQ(s.next(logits), 0);
  s.accept(0);
  EXPECT_EQ(s.next(logits), 1);  // 4 / 2 < 3
  s.accept(1);
  EXPECT_EQ(s.next(logits), 0);  // 2 against 1.5
  s.accept(3);
  EXPECT_EQ(s.next(logits), 0);  // forgotten: only the last two count
  SamplingOptions negative = o;
  Sampler n(negative);
  n.accept(0);
  EXPECT_EQ(n.next(std::vector<float>{-1, -1.5}), 1);  // -1 * 2 < -1.5
}

TEST(Sampler, SameSeedSameTokens) {
  SamplingOptions o = plain();
  Sampler a(o), b(o);
  o.seed = 4;
  Sampler c(o);
  int different = 0;
  for (int i = 0; i < 100; ++i) {
    const int32_t t = a.next(fixed);
    EXPECT_EQ(t, b.next(fixed));
    different += t != c.next(fixed);
  }
  EXPECT_GT(different, 20);
}

TEST(Sampler, OptionsAndLogitsAreChecked) {
  for (const auto& spoil : std::vector<void (*)(SamplingOptions&)>{
           [](SamplingOptions& o) { o.temperature = -1; }, [](SamplingOptions& o) { o.top_k = -1; },
           [](SamplingOptions& o) { o.top_p = 0; }, [](SamplingOptions& o) { o.min_p = 1.5; },
           [](SamplingOptions& o) { o.repeat_penalty = 0; },
           [](SamplingOptions& o) { o.repeat_last = -2; }}) {
    SamplingOptions o = plain();
    spoil(o);
    EXPECT_THROW(Sampler{o}, Error);
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(Sampler(plain()).next(std::vector<float>{nan, nan}), Error);
  EXPECT_EQ(Sampler(plain()).next(std::vector<float>{nan, 1}), 1);
}

/// Numbers of draws against probabilities: Pearson's sum of squares, which is chi-squared distributed.
double chi_squared(const std::map<int32_t, int>& count, const Distribution& p, int n) {
  double sum = 0;
  for (const Distribution::Choice& c : p.choices) {
    const double want = n * c.weight / p.total;
    const auto it = count.find(c.id);
    const double got = it == count.end() ? 0 : it->second;
    sum += (got - want) * (got - want) / want;
  }
  return sum;
}

TEST(Sampler, JudgedGuessesAreDistributedAsIfNobodyHadGuessed) {
  const Distribution p{{{0, 5}, {1, 3}, {2, 1}, {3, 1}}, 10};
  struct Guess {
    Distribution q;
    double accepted;  ///< sum of the smaller probabilities
  };
  for (const Guess& guess :
       {Guess{p, 1}, Guess{{{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, 4}, 0.25 + 0.25 + 0.1 + 0.1},
        Guess{{{{3, 7}, {5, 1}, {0, 2}}, 10}, 0.1 + 0.2}, Guess{Distribution::certain(1), 0.3},
        Guess{Distribution::certain(9), 0}}) {
    Sampler sampler(plain());
    SamplingOptions other = plain();
    other.seed = 77;
    Sampler drafter(other);
    std::map<int32_t, int> count;
    const int n = 40000;
    int accepted = 0;
    for (int i = 0; i < n; ++i) {
      const int32_t proposed = drafter.draw(guess.q);
      const Sampler::Verdict v = sampler.judge(p, proposed, guess.q);
      EXPECT_TRUE(!v.accepted || v.token == proposed);
      accepted += v.accepted;
      ++count[v.token];
    }
    // Three degrees of freedom: above 25 once in 65,000.
    EXPECT_LT(chi_squared(count, p, n), 25);
    EXPECT_EQ(count.size(), 4u);
    EXPECT_NEAR(accepted, n * guess.accepted, 5 * std::sqrt(n * 0.25) * (guess.accepted < 1))
        << guess.accepted;
  }
}

TEST(Sampler, DistributionsAreWhatNextDrawsFrom) {
  SamplingOptions o = plain();
  o.top_k = 3;
  o.temperature = 0.7;
  o.repeat_penalty = 1.3;
  Sampler a(o), b(o);
  for (Sampler* s : {&a, &b}) s->accept(1);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(a.next(fixed), b.draw(b.distribution(fixed)));
  EXPECT_EQ(a.distribution(fixed).choices.size(), 3u);
  o.temperature = 0;
  Sampler greedy(o);
  EXPECT_EQ(greedy.distribution(fixed).of(0), 1);
  EXPECT_EQ(greedy.judge(greedy.distribution(fixed), 2, Distribution::certain(2)).token, 0);
  // A fork has the history, and numbers of its own.
  Sampler fork = a.fork(5), same = a.fork(5);
  const Distribution p = a.distribution(fixed), f = fork.distribution(fixed);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(f.choices[i].weight, p.choices[i].weight);
  int differ = 0;
  for (int i = 0; i < 50; ++i) {
    const int32_t t = fork.next(fixed);
    EXPECT_EQ(t, same.next(fixed));
    differ += t != a.next(fixed);
  }
  EXPECT_GT(differ, 0);
}

}  // namespace
}  // namespace nibble
