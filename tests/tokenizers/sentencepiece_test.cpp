// sentencepiece's own output is the truth for tokenizer.model files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "tokenizers/reference.h"

namespace nibble {
namespace {

using test::data_dir;
using test::read_text;

Tokenizer open_model(const std::string& name) {
  const auto path = data_dir() / "models" / name;
  return name.ends_with(".bin") ? Tokenizer(test::llama2c_dump(path)) : Tokenizer::open(path.string());
}

const EncodeOptions plain{.add_special = false};

class SentencePieceText : public testing::TestWithParam<const char*> {};

TEST_P(SentencePieceText, EqualsGoldens) {
  NIBBLE_NEEDS_DATA(model, std::string("models/") + GetParam());
  const Tokenizer tokenizer = open_model(GetParam());
  std::map<std::string, std::filesystem::path> paths;
  for (const auto& path : test::texts()) paths[path.filename()] = path;
  ASSERT_GE(paths.size(), 9u);
  std::ifstream goldens(test::source_dir() / "tests/data/goldens/tokenizers/sentencepiece.txt");
  ASSERT_TRUE(goldens);
  size_t compared = 0;
  for (std::string line; std::getline(goldens, line);) {
    std::istringstream fields(line);
    std::string name, text, hash;
    size_t count = 0;
    fields >> name >> text >> count >> hash;
    if (name != GetParam() || !paths.contains(text)) continue;
    const auto ids = tokenizer.encode(read_text(paths[text]), plain);
    EXPECT_EQ(ids.size(), count) << text;
    EXPECT_EQ(test::hash_ids(ids), hash) << text;
    ++compared;
  }
  EXPECT_EQ(compared, paths.size());
}

TEST_P(SentencePieceText, EqualsInstalledSentencePiece) {
  NIBBLE_NEEDS_DATA(model, std::string("models/") + GetParam());
  if (std::system("/usr/bin/python3 -c 'import sentencepiece' 2>/dev/null") != 0)
    GTEST_SKIP() << "python3-sentencepiece is not installed";
  // Text that the goldens do not hold: odd spaces, other scripts, noise.
  Rng rng(7);
  std::string text = "  leading  spaces\t\tand\n\n\nlines \u3000 \u2581 \u00a0 end  ";
  const std::vector<std::string> parts = {" ", "  ",   "a",    "The",    "ing", "\n",     "\t",    "é",
                                          "ß", "漢字", "🙂", "\u2581", "<s>", "</s>",   "<unk>", "<0x41>",
                                          "0", "99",   ".",    "'s",     "ﬁ",   "e\u0301"};
  for (int i = 0; i < 20000; ++i) text += parts[rng.below(parts.size())];
  const auto file = std::filesystem::temp_directory_path() / fmt::format("nibble-spm-{}.txt", ::getpid());
  std::ofstream(file, std::ios::binary) << text;
  const std::string command =
      fmt::format("/usr/bin/python3 '{}' '{}' '{}'",
                  (test::source_dir() / "tests/tokenizers/oracle/sentencepiece_ids.py").string(),
                  model.string(), file.string());
  FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  int32_t count = 0;
  ASSERT_EQ(std::fread(&count, 4, 1, pipe), 1u);
  std::vector<int32_t> want(static_cast<size_t>(count));
  ASSERT_EQ(std::fread(want.data(), 4, want.size(), pipe), want.size());
  ::pclose(pipe);
  std::filesystem::remove(file);
  EXPECT_EQ(open_model(GetParam()).encode(text, plain), want);
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceText,
                         testing::Values("docs-21m/tokenizer.model", "stories260k/tok512.bin",
                                         "babyllama-tok105/tok105.model"),
                         test::param_name);

TEST(SentencePiece, DecodesWhatItEncodes) {
  NIBBLE_NEEDS_DATA(model, "models/docs-21m/tokenizer.model");
  const Tokenizer tokenizer = Tokenizer::open(model.string());
  Rng rng(3);
  for (int round = 0; round < 500; ++round) {
    const std::string text = test::random_text(rng);
    const auto ids = tokenizer.encode(text);
    ASSERT_EQ(tokenizer.decode(ids), text) << round;
    ASSERT_EQ(test::streamed(tokenizer, ids), text);
  }
}

TEST(SentencePiece, InvalidBytesBecomeReplacementCharacters) {
  NIBBLE_NEEDS_DATA(model, "models/docs-21m/tokenizer.model");
  const Tokenizer tokenizer = Tokenizer::open(model.string());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xff\xe2\x96z")), "a\ufffd\ufffd\ufffdz");
  // A character whose bytes never come to an end.
  const auto byte = [&](int b) { return *tokenizer.id_of(fmt::format("<0x{:02X}>", b)); };
  Tokenizer::StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(byte(0xf0)), "");
  EXPECT_EQ(stream.push(byte(0x9f)), "");
  EXPECT_EQ(stream.push(byte(0x99)), "");
  EXPECT_EQ(stream.push(byte(0x82)), "🙂");
  EXPECT_EQ(stream.push(byte(0xe2)), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
}

TEST(SentencePiece, SpecialTokens) {
  NIBBLE_NEEDS_DATA(model, "models/docs-21m/tokenizer.model");
  const Tokenizer tokenizer = Tokenizer::open(model.string());
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.unk(), 0);
  EXPECT_EQ(tokenizer.vocab_size(), 8192);
  EXPECT_TRUE(tokenizer.ends_generation(2));
  EXPECT_FALSE(tokenizer.ends_generation(300));
  EXPECT_EQ(tokenizer.encode("").front(), 1);
  EXPECT_NE(tokenizer.encode("</s>", {.add_special = false}).front(), 2);
  EXPECT_EQ(tokenizer.encode("</s>", {.add_special = false, .parse_special = true}), std::vector<int32_t>{2});
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, 2}), "");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, 2}, {.skip_special = false}), "<s></s>");
  const auto hello = tokenizer.encode("the end", plain);
  EXPECT_EQ(tokenizer.decode(hello, {.continuation = true}), " the end");
  EXPECT_THROW(tokenizer.decode(std::vector<int32_t>{8192}), Error);
  EXPECT_THROW(tokenizer.piece(-1), Error);
}

}  // namespace
}  // namespace nibble
