// Files that others wrote.
#include <gtest/gtest.h>

#include <filesystem>

#include "containers/tensor_file.h"
#include "containers/tensor_sink.h"
#include "formats/format.h"
#include "support/data.h"
#include "temp_folder.h"

namespace nibble {
namespace {

TEST(RealFiles, HuggingFaceFolderOfDocs21m) {
  NIBBLE_NEEDS_DATA(folder, "models/docs-21m");
  const TensorFile file = open_tensor_file(folder.string());
  EXPECT_EQ(file.kind(), "safetensors");
  const StoredTensor& t = file.at("model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(t.shape, (Shape{512, 1536}));
  EXPECT_EQ(t.type, "BF16");
  EXPECT_EQ(t.weights().format.to_string(), "bf16");
  EXPECT_EQ(t.bytes(), 512u * 1536u * 2u);
  std::vector<float> row(1536);
  decode_range(t.weights(), 0, 1536, row.data());
  float largest = 0;
  for (const float v : row) largest = std::max(largest, std::abs(v));
  EXPECT_GT(largest, 0.01f);
  EXPECT_LT(largest, 10.0f);
  file.release(t);
  std::vector<float> again(1536);
  decode_range(t.weights(), 0, 1536, again.data());
  EXPECT_EQ(row, again);
}

TEST(RealFiles, SafetensorsOfTheSmallModels) {
  for (const char* name : {"stories260k", "babyllama-tok105"}) {
    NIBBLE_NEEDS_DATA(path, std::string("models/") + name + "/hf_converted/model.safetensors");
    const TensorFile file = open_tensor_file(path.string());
    EXPECT_GT(file.tensors().size(), 20u) << name;
    size_t bytes = 0;
    for (const StoredTensor& t : file.tensors()) {
      EXPECT_TRUE(t.has_weights()) << t.name;
      EXPECT_EQ(&file.at(t.name), &t);
      bytes += t.bytes();
    }
    EXPECT_LT(bytes, std::filesystem::file_size(path));
    EXPECT_GT(bytes + 10000, std::filesystem::file_size(path));
  }
}

TEST(RealFiles, GgufVocabularies) {
  NIBBLE_NEEDS_DATA(folder, "tokenizers/gguf-vocab");
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    ++seen;
    const TensorFile file = open_tensor_file(entry.path().string());
    EXPECT_EQ(file.kind(), "gguf");
    EXPECT_TRUE(file.tensors().empty());
    const MetaValue* tokens = file.metadata().find("tokenizer.ggml.tokens");
    ASSERT_NE(tokens, nullptr) << entry.path();
    EXPECT_GT(std::get<std::vector<std::string>>(*tokens).size(), 1000u);
    EXPECT_EQ(file.gguf().size(), file.metadata().values().size());
  }
  EXPECT_GE(seen, 5);
}

// Read, written and read again: the same keys with the same types, the same tensors, and, since these files
// have no peculiarities of layout, the same bytes.
TEST(RealFiles, GgufRoundTrip) {
  NIBBLE_NEEDS_DATA(folder, "tokenizers/gguf-vocab");
  const test::TempFolder dir;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const TensorFile before = open_tensor_file(entry.path().string());
    TensorSink sink(plan_gguf(dir / "again.gguf", {}, before.gguf()));
    sink.finish();
    const TensorFile after = open_tensor_file(dir / "again.gguf");
    EXPECT_EQ(before.gguf(), after.gguf()) << entry.path();
    std::string original = test::slurp(entry.path().string()), again = test::slurp(dir / "again.gguf");
    original[4] = again[4];  // version 2 becomes 3
    again.resize(std::min(again.size(), original.size()));
    EXPECT_TRUE(original == again) << entry.path();
  }
}

TEST(RealFiles, SafetensorsRoundTrip) {
  NIBBLE_NEEDS_DATA(path, "models/stories260k/hf_converted/model.safetensors");
  const TensorFile before = open_tensor_file(path.string());
  std::vector<PlannedTensor> planned;
  for (const StoredTensor& t : before.tensors()) {
    planned.push_back({t.name, t.shape, &format_of(t.weights().format), DType::u8});
  }
  const test::TempFolder dir;
  TensorSink sink(plan_safetensors(dir / "again", planned,
                                   {{"format", before.metadata().text("format").value_or("pt")}}));
  for (size_t i = 0; i < planned.size(); ++i) sink.write(i, 0, 0, before.tensors()[i].raw.bytes);
  sink.finish();
  const TensorFile after = open_tensor_file(dir / "again");
  ASSERT_EQ(after.tensors().size(), planned.size());
  for (size_t i = 0; i < planned.size(); ++i) {
    const StoredTensor &a = before.tensors()[i], &b = after.tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(a.type, b.type);
    EXPECT_TRUE(std::equal(a.raw.bytes.begin(), a.raw.bytes.end(), b.raw.bytes.begin(), b.raw.bytes.end()));
  }
}

}  // namespace
}  // namespace nibble
