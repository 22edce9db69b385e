// What nibble writes against the same models as llama.cpp's gguf-py wrote them, and there and back again.
#include "model/export.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "containers/json_meta.h"
#include "support/convert.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return test::source_dir() / "tests/data/goldens/arch" / name; }

using test::convert;

std::vector<float> values(const Checkpoint& c, const CanonicalTensor& t) {
  std::vector<float> x(static_cast<size_t>(t.shape.elements()));
  c.read_rows(t, 0, t.shape.rows(), x.data());
  return x;
}

void expect_same_bytes(const TensorFile& a, const TensorFile& b) {
  std::set<std::string> names;
  for (const StoredTensor& t : a.tensors()) names.insert(t.name);
  for (const StoredTensor& t : b.tensors()) EXPECT_TRUE(names.count(t.name)) << t.name << " is missing";
  for (const StoredTensor& t : a.tensors()) {
    const StoredTensor* other = b.find(t.name);
    ASSERT_NE(other, nullptr) << t.name << " is too much";
    EXPECT_EQ(t.type, other->type) << t.name;
    EXPECT_EQ(t.shape, other->shape) << t.name;
    ASSERT_EQ(t.raw.bytes.size(), other->raw.bytes.size()) << t.name;
    EXPECT_EQ(std::memcmp(t.raw.bytes.data(), other->raw.bytes.data(), t.raw.bytes.size()), 0) << t.name;
  }
}

class Tiny : public ::testing::TestWithParam<const char*> {};

TEST_P(Tiny, GgufEqualsTheOneOfGgufPy) {
  if (!fs::exists(golden(GetParam()) / "model.gguf")) GTEST_SKIP() << "no GGUF twin of this model";
  const test::Scratch scratch;
  convert(open_checkpoint(golden(GetParam()).string()), scratch.file("out.gguf"));
  const TensorFile ours = open_tensor_file(scratch.file("out.gguf"));
  const TensorFile theirs = open_tensor_file((golden(GetParam()) / "model.gguf").string());
  if (std::string(GetParam()) == "llama3") {
    // The factors are computed in double here and in float there.
    const float* a = reinterpret_cast<const float*>(ours.at("rope_freqs.weight").raw.bytes.data());
    const float* b = reinterpret_cast<const float*>(theirs.at("rope_freqs.weight").raw.bytes.data());
    for (int i = 0; i < 8; ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * b[i]);
  } else {
    expect_same_bytes(ours, theirs);
  }
  std::map<std::string, GgufKv> kv;
  for (const GgufKv& entry : ours.gguf()) kv.emplace(entry.key, entry);
  for (const GgufKv& entry : theirs.gguf()) {
    if (entry.key == "general.name" || entry.key == "general.quantization_version") continue;
    // What readers compute themselves, or what applies to no tensor.
    if (entry.key.ends_with("rope.dimension_count") && kv.count(entry.key) == 0) continue;
    if (entry.key == "phi3.attention.sliding_window" && kv.count(entry.key) == 0) continue;
    ASSERT_TRUE(kv.count(entry.key)) << entry.key;
    EXPECT_EQ(kv.at(entry.key).type, entry.type) << entry.key;
    EXPECT_EQ(kv.at(entry.key).meta(), entry.meta()) << entry.key;
  }
}

TEST_P(Tiny, FolderToFolderChangesNoByte) {
  const test::Scratch scratch;
  const Checkpoint source = open_checkpoint(golden(GetParam()).string());
  convert(source, scratch.file("out"));
  const Checkpoint copy = open_checkpoint(scratch.file("out"));
  expect_same_bytes(copy.file(), source.file());
  EXPECT_TRUE(copy.meta().text("model_type") == source.meta().text("model_type"));
}

TEST_P(Tiny, GgufThereAndBackChangesNoWeight) {
  const Checkpoint source = open_checkpoint(golden(GetParam()).string());
  if (source.arch().gguf.empty()) GTEST_SKIP() << "no GGUF for " << source.arch().name;
  const test::Scratch scratch;
  convert(source, scratch.file("a.gguf"));
  const Checkpoint gguf = open_checkpoint(scratch.file("a.gguf"));
  convert(gguf, scratch.file("folder"));
  const Checkpoint folder = open_checkpoint(scratch.file("folder"));
  for (const CanonicalTensor& t : source.tensors()) {
    EXPECT_EQ(values(source, t), values(folder, folder.at(t.name))) << t.name;
  }
  EXPECT_TRUE(folder.unclaimed().empty());
  convert(folder, scratch.file("b.gguf"));
  if (source.arch().name == "distilbert") return;  // comes back as a BERT whose one segment adds zeros
  expect_same_bytes(open_tensor_file(scratch.file("b.gguf")), open_tensor_file(scratch.file("a.gguf")));
  const Hparams a = source.hparams(), b = folder.hparams();
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.ffn, b.ffn);
  EXPECT_EQ(a.rope_dim, b.rope_dim);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.rope_theta_local, b.rope_theta_local);
  EXPECT_EQ(a.norm_eps, b.norm_eps);
  EXPECT_EQ(a.query_scale, b.query_scale);
  EXPECT_EQ(a.attn_softcap, b.attn_softcap);
  EXPECT_EQ(a.logit_softcap, b.logit_softcap);
  EXPECT_EQ(a.window_every, b.window_every);
  EXPECT_EQ(a.experts, b.experts);
  EXPECT_EQ(a.experts_used, b.experts_used);
  EXPECT_EQ(a.expert_ffn, b.expert_ffn);
  EXPECT_EQ(a.parallel_residual, b.parallel_residual);
  EXPECT_EQ(a.tied, b.tied);
}

TEST_P(Tiny, GgufToGgufKeepsEveryKey) {
  if (!fs::exists(golden(GetParam()) / "model.gguf")) GTEST_SKIP() << "no GGUF twin of this model";
  const test::Scratch scratch;
  const Checkpoint source = open_checkpoint((golden(GetParam()) / "model.gguf").string());
  convert(source, scratch.file("out.gguf"), &format_of("f16"));
  const Checkpoint out = open_checkpoint(scratch.file("out.gguf"));
  for (const auto& [key, value] : source.meta().values()) {
    if (key == "general.file_type" || key == "general.quantization_version") continue;
    ASSERT_NE(out.meta().find(key), nullptr) << key;
    EXPECT_EQ(*out.meta().find(key), value) << key;
  }
  EXPECT_EQ(out.meta().integer("general.file_type"), 1);
  for (const CanonicalTensor& t : out.tensors()) {
    EXPECT_EQ(t.format.to_string(), source.at(t.name).format.to_string() == "f32" ? "f32" : "f16") << t.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Archs, Tiny,
                         ::testing::Values("llama", "llama3", "mistral", "mixtral", "qwen2", "qwen3",
                                           "qwen3moe", "gemma2", "gemma3", "phi3", "gptneox", "gptneox-seq",
                                           "gpt2", "opt", "bert", "distilbert"),
                         [](const auto& i) {
                           std::string name = i.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Export, RefusesWhatGgufCannotSay) {
  const Checkpoint opt = open_checkpoint(golden("opt").string());
  try {
    plan_export(opt, Target::gguf, float_choice(nullptr), 0);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::unsupported);
    EXPECT_FALSE(e.hint().empty());
  }
}

TEST(Export, NamesTheTensorThatDoesNotFit) {
  const Checkpoint llama = open_checkpoint(golden("llama").string());
  const Format& q4_k = format_of("q4_k");
  try {
    plan_export(llama, Target::gguf, float_choice(&q4_k), 15);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("token_embd.weight [96, 32] cannot be stored as q4_k"),
              std::string::npos)
        << e.what();
  }
}

TEST(Export, KeepsSmallTensorsInFloat) {
  const Checkpoint mixtral = open_checkpoint(golden("mixtral").string());
  const ExportPlan plan = plan_export(mixtral, Target::gguf, float_choice(&format_of("q8_0")), 7);
  for (const ExportTensor& t : plan.tensors) {
    const bool small = t.shape.rank() == 1 || t.name.find("ffn_gate_inp") != std::string::npos;
    EXPECT_EQ(t.format->spec().to_string(), small ? "f32" : "q8_0") << t.name;
    EXPECT_EQ(t.fixed, small) << t.name;
  }
}

TEST(Export, WritesShards) {
  const test::Scratch scratch;
  const Checkpoint source = open_checkpoint(golden("qwen2").string());
  convert(source, scratch.file("out"), nullptr, 20000);
  EXPECT_TRUE(fs::exists(scratch.path() / "out/model.safetensors.index.json"));
  const Checkpoint copy = open_checkpoint(scratch.file("out"));
  EXPECT_GT(copy.file().files().size(), 2u);
  expect_same_bytes(copy.file(), source.file());
}

TEST(Export, ReadsAnyWindowOfTheTarget) {
  for (const char* name : {"llama", "gpt2", "gptneox", "mixtral"}) {
    for (const Target target : {Target::gguf, Target::huggingface}) {
      for (const fs::path& path : {golden(name), golden(name) / "model.gguf"}) {
        const ExportPlan plan = plan_export(open_checkpoint(path.string()), target, float_choice(nullptr), 0);
        for (const ExportTensor& t : plan.tensors) {
          const int64_t rows = t.shape.rows(), cols = t.shape.cols();
          std::vector<float> whole(static_cast<size_t>(rows * cols)), part(whole.size());
          plan.read_rows(t, 0, rows, whole.data());
          for (int64_t row = 0; row < rows; row += 11) {
            plan.read_rows(t, row, std::min<int64_t>(11, rows - row), part.data() + row * cols);
          }
          EXPECT_EQ(whole, part) << name << " " << t.name;
        }
      }
    }
  }
}

// docs-21m: a trained model with a sentencepiece vocabulary.
TEST(Export, WritesTheVocabularyOfDocs21m) {
  NIBBLE_NEEDS_DATA(folder, "models/docs-21m");
  const test::Scratch scratch;
  convert(open_checkpoint(folder.string()), scratch.file("out.gguf"));
  const Checkpoint out = open_checkpoint(scratch.file("out.gguf"));
  EXPECT_EQ(out.meta().text("tokenizer.ggml.model"), "llama");
  const auto& tokens = std::get<std::vector<std::string>>(*out.meta().find("tokenizer.ggml.tokens"));
  EXPECT_EQ(tokens.size(), 8192u);
  EXPECT_EQ(tokens[0], "<unk>");
  EXPECT_EQ(tokens[3], "<0x00>");
  EXPECT_EQ(out.meta().boolean("tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(out.meta().integer("tokenizer.ggml.eos_token_id"), 2);
  EXPECT_EQ(out.meta().integer("general.file_type"), 32);
}

TEST(Export, LeavesNothingBehindWhenAValueDoesNotFit) {
  const test::Scratch scratch;
  const std::string folder = scratch.file("in");
  fs::create_directories(folder);
  for (const char* f : {"config.json", "model.safetensors"})
    fs::copy_file(golden("llama") / f, folder + "/" + f);
  {
    const TensorFile file = open_tensor_file(folder);
    const uint64_t at = file.at("lm_head.weight").offset;
    std::fstream out(folder + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(at));
    out.write("\x7f\x7f", 2);  // 3.4e38 in bf16
  }
  try {
    convert(open_checkpoint(folder), scratch.file("out.gguf"), &format_of("f16"));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("output.weight"), std::string::npos) << e.what();
  }
  EXPECT_FALSE(fs::exists(scratch.file("out.gguf")));
  EXPECT_FALSE(fs::exists(scratch.file("out.gguf.partial")));
  EXPECT_FALSE(fs::exists(scratch.file("out.gguf.journal")));
}

}  // namespace
}  // namespace nibble
