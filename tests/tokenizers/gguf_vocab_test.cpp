// llama.cpp's own cases for its vocabulary files.
#include "tokenizers/gguf_vocab.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "containers/gguf.h"
#include "tokenizers/gguf_pre.h"
#include "tokenizers/reference.h"

namespace nibble {
namespace {

using test::data_dir;

Meta vocab_keys(const std::string& name) {
  return open_gguf((data_dir() / "tokenizers/gguf-vocab" / ("ggml-vocab-" + name + ".gguf")).string())
      .metadata();
}

class GgufCases : public testing::TestWithParam<const char*> {};

TEST_P(GgufCases, EqualLlamaCpp) {
  NIBBLE_NEEDS_DATA(file, std::string("tokenizers/gguf-vocab/ggml-vocab-") + GetParam() + ".gguf");
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocab_keys(GetParam()));
  const auto cases = test::llama_cpp_cases(GetParam());
  EXPECT_GT(cases.size(), 40u);
  for (const auto& [text, ids] : cases)
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false}), ids) << "'" << text << "'";
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GgufCases,
                         testing::Values("llama-spm", "gpt-2", "deepseek-coder", "bert-bge"),
                         test::param_name);

TEST(Gguf, DecodesWhatItEncodes) {
  for (const char* name : {"llama-spm", "gpt-2", "deepseek-coder", "gpt-neox"}) {
    NIBBLE_NEEDS_DATA(file, std::string("tokenizers/gguf-vocab/ggml-vocab-") + name + ".gguf");
    const Tokenizer tokenizer = Tokenizer::from_gguf(vocab_keys(name));
    Rng rng(5);
    for (int round = 0; round < 200; ++round) {
      const std::string text = test::random_text(rng);
      const auto ids = tokenizer.encode(text);
      ASSERT_EQ(tokenizer.decode(ids), text) << name;
      ASSERT_EQ(test::streamed(tokenizer, ids), text) << name;
    }
    tokenizer.encode("bytes \xff\xc3\x28\xf0\x9f that are no text \xed\xa0\x80");
  }
}

TEST(Gguf, SpecialTokensInTheText) {
  NIBBLE_NEEDS_DATA(file, "tokenizers/gguf-vocab/ggml-vocab-llama-spm.gguf");
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocab_keys("llama-spm"));
  EXPECT_EQ(tokenizer.encode("<s>Hello</s>", {.add_special = false, .parse_special = true}),
            (std::vector<int32_t>{1, 15043, 2}));
  EXPECT_EQ(tokenizer.encode("Hello"), (std::vector<int32_t>{1, 15043}));
  EXPECT_EQ(tokenizer.kind(), "sentencepiece BPE");
}

// Every expression compiles and splits something.
TEST(Gguf, EveryPreTokenizerName) {
  NIBBLE_NEEDS_DATA(file, "tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf");
  Meta keys = vocab_keys("gpt-2");
  EXPECT_GT(gguf_pre_names().size(), 70u);
  for (const std::string& name : gguf_pre_names()) {
    if (name == "whitespace" || !gguf_pre_rule(name)->byte_level) continue;
    keys.set("tokenizer.ggml.pre", name);
    const Tokenizer tokenizer = Tokenizer::from_gguf(keys);
    const std::string text = "It's 1234567 o'clock;\n\n  Größe\t漢字かな!! été \r\n x   ";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << name;
  }
}

void expect_refused(const Meta& keys, ErrorKind kind, const std::string& part) {
  try {
    Tokenizer::from_gguf(keys);
    FAIL() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(GgufHostile, EveryContradictionIsNamed) {
  Meta good;
  good.set("tokenizer.ggml.model", std::string("gpt2"));
  good.set("tokenizer.ggml.pre", std::string("gpt-2"));
  good.set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
  good.set("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  EXPECT_EQ(Tokenizer::from_gguf(good).encode("ab"), std::vector<int32_t>{2});

  const auto with = [&](const char* key, MetaValue value) {
    Meta changed = good;
    changed.set(key, std::move(value));
    return changed;
  };
  Meta missing = good;
  missing.erase("tokenizer.ggml.tokens");
  expect_refused(missing, ErrorKind::bad_input, "tokenizer.ggml.tokens is missing");
  missing = good;
  missing.erase("tokenizer.ggml.merges");
  expect_refused(missing, ErrorKind::bad_input, "merges is missing");
  expect_refused(Meta(), ErrorKind::bad_input, "tokenizer.ggml.model is missing");
  expect_refused(with("tokenizer.ggml.model", std::string("no_vocab")), ErrorKind::unsupported, "'no_vocab'");
  expect_refused(with("tokenizer.ggml.model", std::string("rwkv")), ErrorKind::unsupported, "'rwkv'");
  expect_refused(with("tokenizer.ggml.model", std::string("plamo2")), ErrorKind::unsupported, "'plamo2'");
  expect_refused(with("tokenizer.ggml.pre", std::string("\x01?")), ErrorKind::unsupported, "'\\x01?'");
  expect_refused(with("tokenizer.ggml.tokens", std::vector<int64_t>{1}), ErrorKind::bad_input,
                 "tokens is no array");
  expect_refused(with("tokenizer.ggml.tokens", std::vector<std::string>{}), ErrorKind::bad_input, "empty");
  expect_refused(with("tokenizer.ggml.merges", std::vector<std::string>{"ab"}), ErrorKind::bad_input,
                 "entry 0 'ab'");
  expect_refused(with("tokenizer.ggml.merges", std::vector<std::string>{" "}), ErrorKind::bad_input,
                 "entry 0");
  expect_refused(with("tokenizer.ggml.scores", std::vector<double>{1}), ErrorKind::bad_input, "expected 3");
  expect_refused(with("tokenizer.ggml.scores", std::vector<double>{1, 2, std::nan("")}), ErrorKind::bad_input,
                 "entry 2");
  expect_refused(with("tokenizer.ggml.token_type", std::vector<int64_t>{1}), ErrorKind::bad_input,
                 "token_type");
  // Odd, but llama.cpp takes them.
  EXPECT_EQ(Tokenizer::from_gguf(with("tokenizer.ggml.bos_token_id", uint64_t{99})).bos(), -1);
  EXPECT_EQ(
      Tokenizer::from_gguf(with("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "b"})).id_of("b"),
      2);
  EXPECT_EQ(Tokenizer::from_gguf(with("tokenizer.ggml.merges", std::vector<std::string>{"a x"}))
                .encode("ab")
                .size(),
            2u);
  Meta t5 = with("tokenizer.ggml.model", std::string("t5"));
  t5.set("tokenizer.ggml.precompiled_charsmap", std::vector<int64_t>{255, 255, 255, 127, 0});
  expect_refused(t5, ErrorKind::bad_input, "precompiled_charsmap");
}

}  // namespace
}  // namespace nibble
