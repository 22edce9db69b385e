// Random models of every architecture, written as Hugging Face folders, converted to GGUF: the same
// perplexity here as llama.cpp gave for those files (tests/data/goldens/perplexity/README.md).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "model/executor.h"
#include "model/export.h"
#include "model/load.h"
#include "model/seeded_checkpoint.h"
#include "support/convert.h"
#include "support/data.h"
#include "support/scratch.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr int context = 256;
constexpr int chunks = 4;

struct Golden {
  double perplexity = 0;
  std::string hash;  ///< of the GGUF file llama.cpp was given
};

std::map<std::string, Golden> goldens() {
  std::map<std::string, Golden> all;
  std::ifstream in(test::source_dir() / "tests/data/goldens/perplexity/llama.cpp.txt");
  std::string name;
  Golden g;
  while (in >> name >> g.perplexity >> g.hash) all[name] = g;
  return all;
}

// As llama-perplexity counts: chunks of the context, the first token of each replaced by the beginning of
// text, predictions of the second half.
double perplexity(const Checkpoint& model, std::span<const int32_t> ids, int32_t bos, ThreadPool& pool) {
  const Program program = load_program(model, pool);
  Executor executor(program, pool);
  double sum = 0;
  int count = 0;
  for (int c = 0; c < chunks; ++c) {
    std::vector<int32_t> chunk(ids.begin() + c * context, ids.begin() + (c + 1) * context);
    chunk[0] = bos;
    KvCache cache = program.cache(context);
    const auto logits = executor.run(chunk, cache, Want::all);
    const auto cols = static_cast<size_t>(executor.result_cols());
    for (int j = context / 2; j < context - 1; ++j) {
      const auto row = logits.subspan(static_cast<size_t>(j) * cols, cols);
      const double top = *std::max_element(row.begin(), row.end());
      double total = 0;
      for (const float l : row) total += std::exp(static_cast<double>(l) - top);
      sum -= static_cast<double>(row[static_cast<size_t>(chunk[static_cast<size_t>(j) + 1])]) - top -
             std::log(total);
      ++count;
    }
  }
  return std::exp(sum / count);
}

std::string hash_of(const std::string& path) {
  const MappedFile file(path);
  return hash_hex(file.data());
}

void make(const test::SeededModel& model, const fs::path& folder, const fs::path& data) {
  test::write_seeded_checkpoint(model, folder / model.name, data / "models/docs-21m/tokenizer.model");
  test::convert(open_checkpoint((folder / model.name).string()),
                (folder / (std::string(model.name) + ".gguf")).string(), &format_of("f32"));
}

class Seeded : public ::testing::TestWithParam<test::SeededModel> {};

TEST_P(Seeded, PerplexityEqualsLlamaCpps) {
  NIBBLE_NEEDS_DATA(text_file, "models/docs-21m/heldout.txt");
  const test::Scratch scratch;
  make(GetParam(), scratch.path(), test::data_dir());
  const std::string gguf = scratch.file(std::string(GetParam().name) + ".gguf");

  const MappedFile text(text_file.string());
  const Tokenizer tokenizer = open_tokenizer((scratch.path() / GetParam().name).string());
  const std::vector<int32_t> ids =
      tokenizer.encode({reinterpret_cast<const char*>(text.data().data()), size_t{8192}});
  ASSERT_GE(ids.size(), size_t{context * chunks});

  ThreadPool pool(2);
  const double from_folder =
      perplexity(open_checkpoint((scratch.path() / GetParam().name).string()), ids, tokenizer.bos(), pool);
  const double from_gguf = perplexity(open_checkpoint(gguf), ids, tokenizer.bos(), pool);
  EXPECT_NEAR(from_folder / from_gguf, 1, 1e-6);
  EXPECT_GT(from_gguf, 9000);  // the logits have a spread: even ones would give 8192

  const auto all = goldens();
  const auto golden = all.find(GetParam().name);
  ASSERT_NE(golden, all.end()) << GetParam().name << " " << from_gguf << " " << hash_of(gguf);
  EXPECT_EQ(hash_of(gguf), golden->second.hash) << "the file is not the one that llama.cpp was given";
  EXPECT_NEAR(from_gguf / golden->second.perplexity, 1, 1e-3);
  RecordProperty("perplexity", std::to_string(from_gguf));
  fmt::print("{:10} nibble {:.4f} llama.cpp {:.4f} ({:+.4f} %)\n", GetParam().name, from_gguf,
             golden->second.perplexity, 100 * (from_gguf / golden->second.perplexity - 1));
}

INSTANTIATE_TEST_SUITE_P(Archs, Seeded, ::testing::ValuesIn(test::seeded_models()),
                         [](const auto& i) { return std::string(i.param.name); });

// For whoever makes the goldens anew: NIBBLE_SEEDED_OUT=FOLDER test_model --gtest_filter=SeededModels.Write
TEST(SeededModels, Write) {
  const char* out = std::getenv("NIBBLE_SEEDED_OUT");
  if (out == nullptr) GTEST_SKIP() << "NIBBLE_SEEDED_OUT is not set: nothing to write";
  for (const test::SeededModel& model : test::seeded_models()) {
    make(model, out, test::data_dir());
    fmt::print("{} {}\n", model.name,
               hash_of((fs::path(out) / (std::string(model.name) + ".gguf")).string()));
  }
}

}  // namespace
}  // namespace nibble
