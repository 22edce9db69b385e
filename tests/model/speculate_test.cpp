#include "model/speculate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "model/stories.h"

namespace nibble {
namespace {

using test::Stories;

TEST_F(Stories, GuessingAheadChangesNoToken) {
  const auto prompt = encode("Once upon a time there was a dog. The dog was big. The dog");
  for (const double penalty : {1.0, 1.3}) {
    options_.sampling.repeat_penalty = penalty;
    options_.drafter = nullptr;
    const Generation plain = Generator(*program_, *tokenizer_, pool_).generate(prompt, options_);
    EXPECT_EQ(plain.proposed, 0);
    EXPECT_EQ(plain.steps, 119);  // the first token comes of the prompt
    const auto lookup = lookup_drafter();
    // The same model in the other number format of the cache: nearly always of the same opinion.
    const auto draft = model_drafter(*program_, pool_, 256, "q8_0", 1);
    for (Drafter* drafter : {lookup.get(), draft.get()}) {
      options_.drafter = drafter;
      for (const int64_t most : {1, 4, 9}) {
        options_.draft_tokens = most;
        Generator generator(*program_, *tokenizer_, pool_);
        const Generation g = generator.generate(prompt, options_);
        EXPECT_EQ(g.tokens, plain.tokens) << most;
        EXPECT_EQ(g.text, plain.text);
        EXPECT_EQ(g.reason, StopReason::max_tokens);
        EXPECT_GT(g.accepted, 0);
        EXPECT_LE(g.accepted, g.proposed);
        EXPECT_EQ(g.steps + g.accepted + 1 - static_cast<int64_t>(g.tokens.size()), 0)
            << "tokens come from somewhere";
        if (drafter == draft.get()) {
          EXPECT_GT(double(g.accepted), 0.8 * double(g.proposed));
        }
        // What was guessed wrongly is not in the cache.
        EXPECT_TRUE(std::equal(generator.tokens().begin() + static_cast<ptrdiff_t>(prompt.size()),
                               generator.tokens().end(), g.tokens.begin()));
      }
    }
  }
}

TEST_F(Stories, GuessingAheadKeepsStopsShiftsAndTheContext) {
  const auto lookup = lookup_drafter();
  const auto draft = model_drafter(*program_, pool_, 48, "f32", 1);
  const auto prompt = encode("Once upon a time");
  const auto both = [&](int64_t context) {
    options_.drafter = nullptr;
    const Generation plain = Generator(*program_, *tokenizer_, pool_, context).generate(prompt, options_);
    for (Drafter* drafter : {lookup.get(), draft.get()}) {
      options_.drafter = drafter;
      const Generation g = Generator(*program_, *tokenizer_, pool_, context).generate(prompt, options_);
      EXPECT_EQ(g.tokens, plain.tokens);
      EXPECT_EQ(g.text, plain.text);
      EXPECT_EQ(g.reason, plain.reason);
      EXPECT_EQ(g.shifts, plain.shifts);
    }
  };
  both(48);
  options_.context_shift = true;
  both(48);
  options_.stop = {"Lily. She"};
  both(256);
}

TEST_F(Stories, GuessedTextIsDistributedAsUnguessed) {
  // Three tokens after a prompt, over many seeds: with a draft model that has other opinions (its cache
  // is coarse) the counts must agree with those without.
  options_.sampling.temperature = 2;
  options_.sampling.top_k = 4;
  options_.sampling.top_p = 1;
  options_.sampling.min_p = 0;
  options_.max_tokens = 3;
  options_.draft_tokens = 3;
  const auto prompt = encode("Once upon a time, there was a ");
  const auto draft = model_drafter(*program_, pool_, 256, "q4_0:plain", 99);
  std::map<std::vector<int32_t>, double> plain, guessed;
  Generator generator(*program_, *tokenizer_, pool_);
  const int n = 1500;
  for (int i = 0; i < n; ++i) {
    options_.sampling.seed = static_cast<uint64_t>(i);
    options_.drafter = nullptr;
    ++plain[generator.generate(prompt, options_).tokens];
    options_.sampling.seed = static_cast<uint64_t>(i + n);
    options_.drafter = draft.get();
    ++guessed[generator.generate(prompt, options_).tokens];
  }
  // Two samples of the same distribution: the sum over kinds of (a - b)^2 / (a + b) is chi-squared with one
  // degree less than there are kinds; rare ones are counted together.
  double sum = 0, rare_a = 0, rare_b = 0;
  int kinds = 0;
  for (const auto& [tokens, a] : plain) guessed.try_emplace(tokens, 0);
  for (const auto& [tokens, b] : guessed) {
    const double a = plain.count(tokens) > 0 ? plain[tokens] : 0;
    if (a + b < 20) {
      rare_a += a;
      rare_b += b;
      continue;
    }
    sum += (a - b) * (a - b) / (a + b);
    ++kinds;
  }
  if (rare_a + rare_b > 0) sum += (rare_a - rare_b) * (rare_a - rare_b) / (rare_a + rare_b);
  ASSERT_GT(kinds, 3);
  EXPECT_LT(sum, kinds + 5 * std::sqrt(2.0 * kinds)) << kinds << " kinds";
}

TEST(Lookup, TakesWhatFollowedTheLongestMatch) {
  const auto drafter = lookup_drafter();
  const Sampler sampler{SamplingOptions{}};
  const auto guess = [&](const std::vector<int32_t>& text, int64_t most) {
    const Proposal p = drafter->propose(text, most, sampler);
    EXPECT_EQ(p.from.size(), p.tokens.size());
    return p.tokens;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(guess({1, 2, 3, 4, 9, 8, 2, 3}, 3), (Ids{4, 9, 8}));
  EXPECT_EQ(guess({1, 2, 3, 4, 9, 8, 2, 3}, 1), (Ids{4}));
  EXPECT_EQ(guess({1, 2, 3, 4, 5, 2, 3, 7, 1, 2, 3}, 2), (Ids{4, 5})) << "the longer match, not the later";
  EXPECT_EQ(guess({2, 3, 4, 5, 2, 3, 7, 2, 3}, 1), (Ids{7})) << "of equals the later";
  EXPECT_EQ(guess({5, 5, 5, 5}, 2), (Ids{5})) << "matches may overlap the end";
  EXPECT_EQ(guess({1, 2, 3}, 4), Ids{});
  EXPECT_EQ(guess({7}, 4), Ids{});
  EXPECT_EQ(guess({}, 4), Ids{});
}

}  // namespace
}  // namespace nibble
