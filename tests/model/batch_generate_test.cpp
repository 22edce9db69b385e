#include "model/batch_generate.h"

#include <gtest/gtest.h>

#include "model/stories.h"

namespace nibble {
namespace {

using test::Stories;

TEST_F(Stories, PromptsContinuedTogetherGiveWhatEachGivesAlone) {
  options_.max_tokens = 40;
  std::vector<std::vector<int32_t>> prompts;
  for (const char* text :
       {"Once upon a time", "One day, Tom", "The", "Lily and her mom went to the park and saw", "A big dog",
        "Tim had a red ball. He"})
    prompts.push_back(encode(text));
  for (const bool shift : {false, true}) {
    for (const double temperature : {0.0, 1.0}) {
      options_.context_shift = shift;
      options_.sampling.temperature = temperature;
      options_.stop = {"Lily"};
      const int64_t context = shift ? 48 : 64;
      std::vector<Generation> alone;
      for (const auto& p : prompts)
        alone.push_back(Generator(*program_, *tokenizer_, pool_, context).generate(p, options_));
      for (const int64_t together : {1, 2, 4, 100}) {
        for (const int64_t piece : {5, 256}) {
          size_t count = 0;
          const BatchReport report =
              generate_batch(*program_, *tokenizer_, pool_, prompts, options_,
                             {.together = together, .context = context, .kv = "f32", .prompt_piece = piece},
                             [&](size_t i, const Generation& g) {
                               ++count;
                               EXPECT_EQ(g.tokens, alone[i].tokens) << i << " of " << together;
                               EXPECT_EQ(g.text, alone[i].text);
                               EXPECT_EQ(g.reason, alone[i].reason);
                               EXPECT_EQ(g.shifts, alone[i].shifts);
                             });
          EXPECT_EQ(count, prompts.size());
          EXPECT_GT(report.generated_tokens, 0);
          EXPECT_EQ(report.prompt_tokens, [&] {
            int64_t n = 0;
            for (const auto& p : prompts) n += static_cast<int64_t>(p.size());
            return n;
          }());
        }
      }
    }
  }
}

TEST_F(Stories, ImpossibleBatchesAreUsageErrors) {
  const auto run = [&](const std::vector<std::vector<int32_t>>& prompts, const BatchOptions& batch) {
    generate_batch(*program_, *tokenizer_, pool_, prompts, options_, batch,
                   [](size_t, const Generation&) { ADD_FAILURE() << "something ran"; });
  };
  EXPECT_THROW(run({encode("a"), {}}, {}), Error);
  EXPECT_THROW(run({encode("a"), encode("Once upon a time")}, {.context = 8}), Error);
  EXPECT_THROW(run({encode("a")}, {.together = 0}), Error);
  run({}, {});
}

}  // namespace
}  // namespace nibble
