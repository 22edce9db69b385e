// Vocabularies into GGUF and back into a folder: the same ids for the same text.
#include <gtest/gtest.h>

#include <fstream>

#include "base/mapped_file.h"
#include "containers/tensor_sink.h"
#include "model/export.h"
#include "model/export_parts.h"
#include "support/data.h"
#include "support/scratch.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string>& texts() {
  static const std::vector<std::string> all{
      "Hello, world!",
      "The quick brown fox didn't jump over 13 lazy dogs in 2024.",
      "  two  spaces, a\ttab\nand a new line ",
      "na\xc3\xafve caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80",
      "int main() { return x[0] + 42; }  // code",
      "",
  };
  return all;
}

GgufKv find(const std::vector<GgufKv>& kv, const std::string& key) {
  for (const GgufKv& entry : kv) {
    if (entry.key == key) return entry;
  }
  ADD_FAILURE() << "no key " << key;
  return {};
}

Meta meta_of(const std::vector<GgufKv>& kv) {
  Meta m;
  for (const GgufKv& entry : kv) m.set(entry.key, entry.meta());
  return m;
}

void expect_same(const Tokenizer& a, const Tokenizer& b, const EncodeOptions& options = {}) {
  for (const std::string& text : texts()) EXPECT_EQ(a.encode(text, options), b.encode(text, options)) << text;
}

Tokenizer from_folder(const std::vector<ExportFile>& files) {
  const test::Scratch scratch;
  for (const ExportFile& f : files) std::ofstream(scratch.file(f.name), std::ios::binary) << f.content;
  return open_tokenizer(scratch.path().string());
}

TEST(TokenizerExport, SentencePiece) {
  NIBBLE_NEEDS_DATA(path, "models/docs-21m/tokenizer.model");
  const Tokenizer original = open_tokenizer(path.string());
  const auto kv = gguf_vocabulary(original.data(), *arch_of_gguf("llama"), 8192, {});
  const Tokenizer gguf = Tokenizer::from_gguf(meta_of(kv));
  const Tokenizer folder = from_folder(tokenizer_files(gguf.data()));
  expect_same(gguf, folder);
  for (int32_t id = 0; id < original.vocab_size(); ++id) {
    ASSERT_EQ(original.piece(id), folder.piece(id));
    ASSERT_EQ(original.type(id), folder.type(id)) << id;
    ASSERT_EQ(original.score(id), folder.score(id)) << id;
  }
}

TEST(TokenizerExport, RowsBeyondTheVocabularyAreUnused) {
  NIBBLE_NEEDS_DATA(path, "models/docs-21m/tokenizer.model");
  const Tokenizer original = open_tokenizer(path.string());
  const auto kv = gguf_vocabulary(original.data(), *arch_of_gguf("llama"), 8200, {});
  const Tokenizer gguf = Tokenizer::from_gguf(meta_of(kv));
  EXPECT_EQ(gguf.vocab_size(), 8200);
  EXPECT_EQ(gguf.piece(8199), "[PAD8199]");
  EXPECT_EQ(gguf.type(8199), TokenType::unused);
  EXPECT_ANY_THROW(gguf_vocabulary(original.data(), *arch_of_gguf("llama"), 8191, {}));
}

TEST(TokenizerExport, Gpt2) {
  NIBBLE_NEEDS_DATA(folder, "tokenizers/gpt2");
  const Tokenizer original = open_tokenizer(folder.string());
  const auto kv = gguf_vocabulary(original.data(), *arch_of_gguf("gpt2"), 50257, {});
  EXPECT_EQ(std::get<std::string>(find(kv, "tokenizer.ggml.pre").meta()), "gpt-2");
  const Tokenizer gguf = Tokenizer::from_gguf(meta_of(kv));
  expect_same(original, gguf);
  expect_same(original, from_folder(tokenizer_files(gguf.data())));
  expect_same(gguf, from_folder(tokenizer_files(gguf.data())), {.parse_special = true});
}

TEST(TokenizerExport, Pythia) {
  NIBBLE_NEEDS_DATA(path, "tokenizers/gptneox/20B_tokenizer.json");
  const Tokenizer original = open_tokenizer(path.string());
  const auto kv = gguf_vocabulary(original.data(), *arch_of_gguf("gptneox"), 50304, {});
  const Tokenizer gguf = Tokenizer::from_gguf(meta_of(kv));
  expect_same(original, gguf);
  expect_same(original, from_folder(tokenizer_files(gguf.data())));
}

TEST(TokenizerExport, Bert) {
  NIBBLE_NEEDS_DATA(path, "tokenizers/gguf-vocab/ggml-vocab-bert-bge.gguf");
  const Tokenizer original = open_tokenizer(path.string());
  const Tokenizer folder = from_folder(tokenizer_files(original.data()));
  const std::vector<int32_t> want = original.encode("The cafe didn't open.");
  EXPECT_EQ(folder.encode("The cafe didn't open."), want);
  const auto kv = gguf_vocabulary(folder.data(), *arch_of_gguf("bert"), original.vocab_size(), {});
  const Tokenizer again = Tokenizer::from_gguf(meta_of(kv));
  for (int32_t id = 0; id < original.vocab_size(); ++id) ASSERT_EQ(original.piece(id), again.piece(id)) << id;
  expect_same(original, again);
}

TEST(TokenizerExport, DeepseekKeepsItsExpressions) {
  NIBBLE_NEEDS_DATA(path, "tokenizers/gguf-vocab/ggml-vocab-deepseek-coder.gguf");
  const Tokenizer original = open_tokenizer(path.string());
  expect_same(original, from_folder(tokenizer_files(original.data())));
}

// What llama.cpp's converter does not know: a tokenizer.json made from a sentencepiece model has no scores.
TEST(TokenizerExport, ScoresFollowFromTheOrderOfMerges) {
  TokenizerData data;
  data.source = TokenizerSource::huggingface;
  data.model = TokenizerModel::bpe;
  data.byte_fallback = true;
  data.tokens = {"<unk>", "<0x41>", "a", "b", "ab", "abab"};
  data.merges = {{"a", "b"}, {"ab", "ab"}};
  data.types.assign(6, TokenType::normal);
  const auto kv = gguf_vocabulary(data, *arch_of_gguf("llama"), 6, {});
  EXPECT_EQ(std::get<std::string>(find(kv, "tokenizer.ggml.model").meta()), "llama");
  EXPECT_EQ(std::get<std::vector<double>>(find(kv, "tokenizer.ggml.scores").meta()),
            (std::vector<double>{0, 0, 0, 0, -1, -2}));
  EXPECT_EQ(std::get<std::vector<int64_t>>(find(kv, "tokenizer.ggml.token_type").meta())[1], 6);
}

}  // namespace
}  // namespace nibble
