// What a model is calibrated on: text from files, or its own.
#include "calibrate/text.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "calibrate/made_models.h"
#include "support/data.h"
#include "support/scratch.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::thrown_by;

class Text : public testing::Test {
 protected:
  /// A small model with the demo model's tokenizer, and as many tokens as that knows.
  static std::string config(int64_t vocab) {
    return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
      "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
      "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
      "tie_word_embeddings": false, "vocab_size": )" +
           std::to_string(vocab) + "}";
  }
  Checkpoint made(const std::string& name, int64_t vocab) {
    const std::string text = config(vocab);
    test::write_seeded_checkpoint({name.c_str(), text.c_str()}, scratch_.path() / name,
                                  test::source_dir() / "models" / "demo" / "tokenizer.model");
    return open_checkpoint(scratch_.file(name));
  }
  std::string file(const std::string& name, const std::string& bytes) {
    const fs::path path = scratch_.path() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path.string();
  }
  CalibrationText text(const std::string& source, int64_t samples = 0, int64_t length = 16,
                       uint64_t seed = 0) {
    return calibration_text(model_, {source, samples, length, seed}, pool_);
  }
  std::string decoded(const CalibrationText& t) {
    std::string all;
    for (const Sequence& s : t.sequences) all += model_.tokenizer().decode(s) + "|";
    return all;
  }
  static std::string story(int sentences) {
    std::string all;
    for (int i = 0; i < sentences; ++i)
      all += "Day " + std::to_string(i) + ": the kernel reads " + std::to_string(i * 7919 % 1000) +
             " pages from the disk and writes them to the log. ";
    return all;
  }

  test::Scratch scratch_;
  ThreadPool pool_{2};
  Checkpoint model_ = made("model", 4096);
};

TEST_F(Text, IsCutIntoSequencesOfOneLengthThatBeginWithTheBeginning) {
  const std::string source = file("a.txt", story(20));
  const CalibrationText t = text(source);
  const auto tokens = model_.tokenizer().encode(story(20));
  ASSERT_EQ(t.sequences.size(), tokens.size() / 16);
  ASSERT_GT(t.sequences.size(), 5u);
  for (size_t i = 0; i < t.sequences.size(); ++i) {
    ASSERT_EQ(t.sequences[i].size(), 16u);
    EXPECT_EQ(t.sequences[i][0], model_.tokenizer().bos());
    for (size_t k = 1; k < 16; ++k) ASSERT_EQ(t.sequences[i][k], tokens[i * 16 + k]);
  }
  EXPECT_EQ(t.length, 16);
  EXPECT_EQ(t.tokens(), static_cast<int64_t>(t.sequences.size()) * 16);
  EXPECT_EQ(t.source, source);
  EXPECT_NE(t.description.find("sequences of 16 tokens of " + source), std::string::npos) << t.description;
  EXPECT_EQ(text(source, 3).sequences, std::vector<Sequence>(t.sequences.begin(), t.sequences.begin() + 3));
  EXPECT_EQ(text(source, 1000).sequences, t.sequences);
  // Nothing said: what the model was trained on, if that is less than 512.
  EXPECT_EQ(text(source, 0, 0).length, 64);
}

TEST_F(Text, ASeedDrawsOthersAndTheSameEveryTime) {
  const std::string source = file("a.txt", story(60));
  const CalibrationText all = text(source), first = text(source, 5), one = text(source, 5, 16, 1),
                        two = text(source, 5, 16, 2);
  EXPECT_EQ(text(source, 5, 16, 1).sequences, one.sequences);
  EXPECT_EQ(text(source, 5, 16, 1).hash, one.hash);
  EXPECT_NE(one.sequences, first.sequences);
  EXPECT_NE(one.sequences, two.sequences);
  EXPECT_NE(one.hash, two.hash);
  // Each one once, in the order of the text.
  size_t at = 0;
  for (const Sequence& s : one.sequences) {
    while (at < all.sequences.size() && all.sequences[at] != s) ++at;
    ASSERT_LT(at, all.sequences.size());
    ++at;
  }
}

TEST_F(Text, JsonLinesGiveTheirTexts) {
  std::string lines, plain;
  for (int i = 0; i < 10; ++i) {
    const std::string words = "Line " + std::to_string(i) + " says \\\"hello\\\" to the other processes.";
    lines += "{\"id\": " + std::to_string(i) + ", \"text\": \"" + words + "\"}\r\n\n";
    plain += "Line " + std::to_string(i) + " says \"hello\" to the other processes.\n\n";
  }
  EXPECT_EQ(text(file("a.jsonl", lines)).sequences, text(file("plain.txt", plain)).sequences);
  for (const char* bad : {"{\"txt\": \"a\"}", "{\"text\": 5}", "[\"text\"]", "no json", "{\"text\": \"a"}) {
    const auto e = thrown_by([&] { text(file("bad.jsonl", lines + bad + "\n")); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << bad;
    EXPECT_TRUE(e.says("bad.jsonl line 21")) << e.message;
    EXPECT_FALSE(e.hint.empty());
  }
}

TEST_F(Text, AFolderIsAllItsFilesByName) {
  const std::string story_one = story(10), story_two = "Another book. " + story(5);
  file("books/2.txt", story_two);
  file("books/1/a.jsonl", "{\"text\": \"" + story_one + "\"}\n");
  EXPECT_EQ(text(scratch_.file("books")).sequences,
            text(file("joined.txt", story_one + "\n\n\n\n" + story_two + "\n\n")).sequences);
  file("books/3.bin", "\x7f\xff\xfe");
  const auto e = thrown_by([&] { text(scratch_.file("books")); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("3.bin is no UTF-8 text")) << e.message;
}

TEST_F(Text, WhatCannotBeUsedIsNamed) {
  struct Case {
    std::string source, says;
    ErrorKind kind;
  };
  fs::create_directories(scratch_.path() / "empty");
  for (const Case& c : std::vector<Case>{
           {scratch_.file("absent.txt"), "absent.txt", ErrorKind::io},
           {file("latin.txt", "caf\xe9"), "latin.txt is no UTF-8 text", ErrorKind::bad_input},
           {file("nothing.txt", ""), "nothing.txt has", ErrorKind::bad_input},
           {file("short.txt", "Too short."), "fewer than one sequence of 16", ErrorKind::bad_input},
           {scratch_.file("empty"), "fewer than one sequence of 16", ErrorKind::bad_input},
       }) {
    const auto e = thrown_by([&] { text(c.source); });
    EXPECT_EQ(e.kind, c.kind) << c.says << ": " << e.message;
    EXPECT_TRUE(e.says(c.says)) << e.message;
  }
  EXPECT_TRUE(thrown_by([&] { text(scratch_.file("short.txt")); }).says("--length"));
  const std::string source = file("a.txt", story(20));
  for (const int64_t length : {int64_t{1}, int64_t{65}, INT64_MAX}) {
    const auto e = thrown_by([&] { text(source, 0, length); });
    EXPECT_EQ(e.kind, ErrorKind::usage) << length;
    EXPECT_TRUE(e.says("up to 64")) << e.message;
  }
}

TEST_F(Text, AVocabularyThatIsNotTheModelsIsNamed) {
  const Checkpoint smaller = made("smaller", 300);
  const std::string source = file("a.txt", story(20));
  const auto e = thrown_by([&] { calibration_text(smaller, {source, 0, 16, 0}, pool_); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("vocabulary ends at 300")) << e.message;
  EXPECT_FALSE(e.hint.empty());
}

TEST_F(Text, TheModelWritesItsOwnTheSameEveryTime) {
  int steps = 0;
  const CalibrationText t = calibration_text(model_, {"", 4, 24, 0}, pool_, [&] { ++steps; });
  EXPECT_EQ(steps, 4);
  ASSERT_EQ(t.sequences.size(), 4u);
  std::set<Sequence> different(t.sequences.begin(), t.sequences.end());
  EXPECT_EQ(different.size(), 4u);
  for (const Sequence& s : t.sequences) {
    EXPECT_EQ(s.size(), 24u);
    EXPECT_EQ(s.front(), model_.tokenizer().bos());
  }
  EXPECT_TRUE(t.source.empty());
  EXPECT_NE(t.description.find("the model wrote itself"), std::string::npos) << t.description;
  ThreadPool one(1);
  EXPECT_EQ(calibration_text(model_, {"", 4, 24, 0}, one).sequences, t.sequences);
  EXPECT_NE(calibration_text(model_, {"", 4, 24, 9}, one).sequences, t.sequences);
}

}  // namespace
}  // namespace nibble
