#include "model/generate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/embed.h"
#include "model/stories.h"

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

using test::Stories;

TEST_F(Stories, GreedyTextIsThatOfTheBareLogits) {
  Generator generator(*program_, *tokenizer_, pool_);
  std::vector<int32_t> tokens = encode("Once upon a time");
  std::string streamed;
  const Generation g = generator.generate(tokens, options_, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(g.reason, StopReason::max_tokens);
  EXPECT_EQ(g.tokens.size(), 120u);
  EXPECT_EQ(streamed, g.text);
  EXPECT_EQ(g.text.rfind(", there was a little girl named Lily. She loved to play", 0), 0u) << g.text;
  // The same by running the whole sequence anew for each token.
  Executor executor(*program_, pool_);
  for (size_t i = 0; i < 20; ++i) {
    KvCache cache = program_->cache(200);
    const auto logits = executor.run(tokens, cache, Want::last);
    tokens.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    ASSERT_EQ(tokens.back(), g.tokens[i]) << "token " << i;
  }
}

TEST_F(Stories, StopStringsReachAcrossTokens) {
  Generator generator(*program_, *tokenizer_, pool_);
  options_.stop = {"never", "Lily. She"};
  std::string streamed;
  const Generation g = generator.generate(encode("Once upon a time"), options_, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(g.reason, StopReason::stop_string);
  EXPECT_EQ(g.text, ", there was a little girl named ");
  EXPECT_EQ(streamed, g.text);
}

TEST_F(Stories, FullContextStopsOrShifts) {
  Generator generator(*program_, *tokenizer_, pool_, 48);
  EXPECT_EQ(generator.context(), 48);
  const auto prompt = encode("Once upon a time");
  const Generation full = generator.generate(prompt, options_);
  EXPECT_EQ(full.reason, StopReason::context_full);
  EXPECT_EQ(prompt.size() + full.tokens.size(), 49u);  // the last token needs no place of its own
  options_.context_shift = true;
  const Generation shifted = generator.generate(prompt, options_);
  EXPECT_EQ(shifted.reason, StopReason::max_tokens);
  EXPECT_EQ(shifted.tokens.size(), 120u);
  EXPECT_GE(shifted.shifts, 3);
  EXPECT_TRUE(std::equal(full.tokens.begin(), full.tokens.end(), shifted.tokens.begin()));
  EXPECT_EQ(generator.tokens().front(), tokenizer_->bos());
  EXPECT_LE(generator.tokens().size(), 48u);
}

TEST_F(Stories, TheNextTurnReusesWhatIsCached) {
  Generator generator(*program_, *tokenizer_, pool_);
  options_.max_tokens = 20;
  const auto prompt = encode("Once upon a time");
  const Generation first = generator.generate(prompt, options_);
  EXPECT_EQ(first.reused_tokens, 0);
  std::vector<int32_t> next = prompt;
  next.insert(next.end(), first.tokens.begin(), first.tokens.end());
  const Generation second = generator.generate(next, options_);
  EXPECT_GE(second.reused_tokens, static_cast<int64_t>(next.size()) - 1);
  // An edited prompt keeps only what is before the edit, and gives what a fresh start gives.
  next[5] = next[5] == 7 ? 8 : 7;
  const Generation edited = generator.generate(next, options_);
  EXPECT_EQ(edited.reused_tokens, 5);
  Generator fresh(*program_, *tokenizer_, pool_);
  EXPECT_EQ(fresh.generate(next, options_).tokens, edited.tokens);
}

TEST_F(Stories, SeedsRepeatAndCallbacksStop) {
  Generator generator(*program_, *tokenizer_, pool_);
  options_.sampling.temperature = 1;
  options_.sampling.seed = 11;
  options_.max_tokens = 40;
  const auto prompt = encode("Once upon a time");
  const auto once = generator.generate(prompt, options_).tokens;
  EXPECT_EQ(generator.generate(prompt, options_).tokens, once);
  options_.sampling.seed = 12;
  EXPECT_NE(generator.generate(prompt, options_).tokens, once);
  const Generation stopped = generator.generate(prompt, options_, [](std::string_view) { return false; });
  EXPECT_EQ(stopped.reason, StopReason::interrupted);
  EXPECT_LT(stopped.tokens.size(), 40u);
}

TEST_F(Stories, ImpossiblePromptsAreUsageErrors) {
  Generator generator(*program_, *tokenizer_, pool_, 8);
  EXPECT_THROW(generator.generate({}, options_), Error);
  EXPECT_THROW(generator.generate(encode("Once upon a time"), options_), Error);
  EXPECT_THROW(Generator(*program_, *tokenizer_, pool_, -1), Error);
}

}  // namespace
}  // namespace nibble
