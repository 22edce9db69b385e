#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::run_program;

class RunVerb : public testing::Test {
 protected:
  void SetUp() override {
    NIBBLE_NEEDS_DATA(folder, "models/babyllama-tok105");
    base_ = {"run", (folder / "hf_converted").string(), "--tokenizer", (folder / "tok105.model").string()};
  }
  test::Outcome run(std::vector<std::string> more) {
    more.insert(more.begin(), base_.begin(), base_.end());
    return run_program(more);
  }
  std::vector<std::string> base_;
};

TEST_F(RunVerb, ContinuesAText) {
  const auto o = run({"-p", "Once upon a time", "-n", "60", "--temp", "0"});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out.rfind("Once upon a time, there was a little girl named Lily.", 0), 0u) << o.out;
  EXPECT_NE(o.err.find("generated 60 tokens"), std::string::npos) << o.err;
  const auto quiet = run({"-p", "Once upon a time", "-n", "60", "--temp", "0", "--quiet"});
  EXPECT_EQ("Once upon a time" + quiet.out, o.out);
  EXPECT_EQ(quiet.err, "");
}

TEST_F(RunVerb, JsonTellsHowItWent) {
  const auto o =
      run({"-p", "Once upon a time", "-n", "-1", "--temp", "0", "--stop", "Lily", "--stop", "zzz", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const auto j = nlohmann::json::parse(o.out);
  EXPECT_EQ(j["text"], ", there was a little girl named ");
  EXPECT_EQ(j["stopped_by"], "stop string");
  EXPECT_EQ(j["context"], 256);
  EXPECT_EQ(j["generated_tokens"], j["tokens"].size());
}

TEST_F(RunVerb, TheSameSeedGivesTheSameText) {
  const std::vector<std::string> arguments{"-p", "One day", "-n", "40", "--seed", "5", "--top-k", "0", "-q"};
  const auto a = run(arguments), b = run(arguments);
  EXPECT_EQ(a.status, 0) << a.err;
  EXPECT_EQ(a.out, b.out);
}

TEST_F(RunVerb, FullContextIsSaid) {
  const auto o = run({"-p", "Once upon a time", "-n", "100", "--ctx", "40", "--temp", "0"});
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.err.find("the context of 40 tokens is full"), std::string::npos) << o.err;
  const auto shifted =
      run({"-p", "Once upon a time", "-n", "100", "--ctx", "40", "--temp", "0", "--context-shift"});
  EXPECT_EQ(shifted.err.find("is full"), std::string::npos) << shifted.err;
  EXPECT_GT(shifted.out.size(), 100u);
}

TEST_F(RunVerb, CoarseKeysAndValuesTakeLessMemory) {
  const std::vector<std::pair<std::string, double>> ways{
      {"f32", 4}, {"f16", 2}, {"q8_0", 34.0 / 32}, {"k=q8_0,v=q4_0", 26.0 / 32}, {"q4_0:plain", 18.0 / 32}};
  double exact = 0;
  for (const auto& [words, bytes] : ways) {
    const auto o = run({"-p", "Once upon a time", "-n", "30", "--temp", "0", "--json", "--kv", words});
    ASSERT_EQ(o.status, 0) << o.err;
    const auto j = nlohmann::json::parse(o.out);
    EXPECT_EQ(j["kv"], words);
    if (exact == 0) exact = j["kv_bytes_per_token"];
    EXPECT_NEAR(j["kv_bytes_per_token"].get<double>() / exact, bytes / 4, 0.04) << words;
    EXPECT_EQ(j["generated_tokens"], 30);
  }
}

TEST_F(RunVerb, GuessingAheadIsReportedAndChangesNothing) {
  const std::vector<std::string> text{"-p", "Once upon a time", "-n", "80", "--temp", "0"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), text.begin(), text.end());
    return run(more);
  };
  const auto plain = with({});
  const auto lookup = with({"--speculate", "lookup"}), draft = with({"--draft", base_[1]});
  EXPECT_EQ(lookup.out, plain.out);
  EXPECT_EQ(draft.out, plain.out);
  EXPECT_EQ(plain.err.find("[speculation"), std::string::npos);
  EXPECT_NE(lookup.err.find("guessed tokens accepted"), std::string::npos) << lookup.err;
  const auto j = nlohmann::json::parse(with({"--draft", base_[1], "--draft-tokens", "3", "--json"}).out);
  EXPECT_GT(j["speculation"]["acceptance_rate"], 0.9);
  EXPECT_GT(j["speculation"]["tokens_per_step"], 3);
  EXPECT_EQ(with({"--draft", base_[1], "--speculate", "lookup"}).status, 2);
  EXPECT_EQ(with({"--draft", (test::source_dir() / "models/demo").string()}).status, 3);
}

TEST_F(RunVerb, PromptsOfAFileAreContinuedTogether) {
  const test::Scratch scratch;
  const std::string file = scratch.file("prompts.txt");
  std::ofstream(file) << "Once upon a time\n\nOne day, Tom\r\nThe dog\n";
  const auto o = run({"--prompts", file, "--together", "2", "-n", "20", "--temp", "0", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const auto j = nlohmann::json::parse(o.out);
  ASSERT_EQ(j["generations"].size(), 3u);
  EXPECT_EQ(j["generated_tokens"], 60);
  EXPECT_EQ(j["generations"][1]["prompt"], "One day, Tom");
  const auto text = run({"--prompts", file, "-n", "20", "--temp", "0"});
  EXPECT_EQ(text.out.rfind("Once upon a time, there was a little", 0), 0u) << text.out;
  EXPECT_NE(text.err.find("[3 prompts, 8 at once"), std::string::npos) << text.err;
  EXPECT_EQ(run({"--prompts", file, "-i"}).status, 2);
  std::ofstream(scratch.file("empty.txt")) << "\n";
  EXPECT_EQ(run({"--prompts", scratch.file("empty.txt")}).status, 2);
}

TEST_F(RunVerb, MistakesAreExplained) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"-p", "x", "--temp", "-1"},
                                             {"-p", "x", "--top-p", "0"},
                                             {"-p", "Once upon a time", "--ctx", "5"},
                                             {"-p", "x", "--embed", "mean"},
                                             {"-p", "x", "--kv", "q5_0"},
                                             {"-p", "x", "--kv", "k=q8_0"}}) {
    const auto o = run(arguments);
    EXPECT_EQ(o.status, 2) << o.err;
    EXPECT_EQ(o.err.rfind("error: ", 0), 0u) << o.err;
  }
  EXPECT_EQ(run_program({"run", "/no/such/model", "-p", "x"}).status, 3);
}

TEST_F(RunVerb, ChatAnswersAndEndsWithItsInput) {
  const auto o = run({"-i", "-p", "hello", "-n", "30", "--temp", "0"});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.err.find("chat in the plain style"), std::string::npos) << o.err;
  EXPECT_GT(o.out.size(), 10u);
  EXPECT_EQ(run({"-i", "--json"}).status, 2);
}

TEST_F(RunVerb, EncodersGiveVectors) {
  base_[1] = (test::source_dir() / "tests/data/goldens/arch/bert").string();
  const auto o = run({"-p", "Once", "--embed", "mean", "--normalize", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const auto j = nlohmann::json::parse(o.out);
  const size_t tokens = j["tokens"].size();
  ASSERT_EQ(j["vectors"].size(), 1u);
  double square = 0;
  for (const double v : j["vectors"][0]) square += v * v;
  EXPECT_EQ(j["vectors"][0].size(), 32u);
  EXPECT_NEAR(square, 1, 1e-5);
  const auto all = run({"-p", "Once", "--embed", "none"});
  EXPECT_EQ(static_cast<size_t>(std::count(all.out.begin(), all.out.end(), '\n')), tokens);
  const auto text = run({"-p", "Once"});
  EXPECT_EQ(text.status, 2);
  EXPECT_NE(text.err.find("--embed"), std::string::npos) << text.err;
}

}  // namespace
}  // namespace nibble
