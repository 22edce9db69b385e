// Checkpoints as Hugging Face names them against the same models as llama.cpp's gguf-py wrote them.
#include "model/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return test::source_dir() / "tests/data/goldens/arch" / name; }

std::vector<float> values(const Checkpoint& c, const CanonicalTensor& t) {
  std::vector<float> x(static_cast<size_t>(t.shape.elements()));
  c.read_rows(t, 0, t.shape.rows(), x.data());
  return x;
}

class BothKinds : public ::testing::TestWithParam<const char*> {};

TEST_P(BothKinds, HoldTheSameTensors) {
  const Checkpoint hf = open_checkpoint(golden(GetParam()).string());
  const Checkpoint gguf = open_checkpoint((golden(GetParam()) / "model.gguf").string());
  EXPECT_EQ(hf.source(), SourceKind::huggingface);
  EXPECT_EQ(gguf.source(), SourceKind::gguf);
  EXPECT_EQ(hf.arch().gguf, gguf.arch().gguf);
  EXPECT_TRUE(gguf.unclaimed().empty());
  size_t shared = 0;
  for (const CanonicalTensor& t : hf.tensors()) {
    const CanonicalTensor* other = gguf.find(t.name);
    ASSERT_NE(other, nullptr) << t.name;
    EXPECT_EQ(t.shape, other->shape) << t.name;
    EXPECT_EQ(values(hf, t), values(gguf, *other)) << t.name;
    ++shared;
  }
  for (const CanonicalTensor& t : gguf.tensors()) {
    if (t.role != Role::rope_factors) {
      EXPECT_NE(hf.find(t.name), nullptr) << t.name;
    }
  }
  EXPECT_GT(shared, 10u);
}

TEST_P(BothKinds, GiveTheSameHyperParameters) {
  const Hparams a = open_checkpoint(golden(GetParam()).string()).hparams();
  const Hparams b = open_checkpoint((golden(GetParam()) / "model.gguf").string()).hparams();
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.experts, b.experts);
  EXPECT_EQ(a.experts_used, b.experts_used);
  EXPECT_EQ(a.expert_ffn, b.expert_ffn);
  EXPECT_EQ(a.rope_dim, b.rope_dim);
  EXPECT_EQ(a.rope_scaling, b.rope_scaling);
  EXPECT_NEAR(a.rope_factor, b.rope_factor, 1e-4);
  if (a.rope_scaling != RopeScaling::none) {
    EXPECT_EQ(a.rope_original_context, b.rope_original_context);
  }
  EXPECT_NEAR(a.rope_theta, b.rope_theta, 1e-3);
  EXPECT_NEAR(a.rope_theta_local, b.rope_theta_local, 1e-3);
  EXPECT_NEAR(a.norm_eps, b.norm_eps, 1e-12);
  EXPECT_NEAR(a.query_scale, b.query_scale, 1e-9);
  EXPECT_NEAR(a.embedding_scale, b.embedding_scale, 1e-9);
  EXPECT_NEAR(a.attn_softcap, b.attn_softcap, 1e-9);
  EXPECT_NEAR(a.logit_softcap, b.logit_softcap, 1e-9);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.window_every, b.window_every);
  EXPECT_EQ(a.parallel_residual, b.parallel_residual);
  EXPECT_EQ(a.token_types, b.token_types);
  EXPECT_EQ(a.tied, b.tied);
}

TEST_P(BothKinds, LoadWhatReadRowsReads) {
  for (const fs::path& path : {golden(GetParam()), golden(GetParam()) / "model.gguf"}) {
    const Checkpoint c = open_checkpoint(path.string());
    for (const CanonicalTensor& t : c.tensors()) {
      const QTensor loaded = c.load(t);
      std::vector<float> x(static_cast<size_t>(t.shape.elements()));
      decode_range(loaded, 0, t.shape.elements(), x.data());
      EXPECT_EQ(x, values(c, t)) << t.name;
      if (c.is_view(t)) {
        EXPECT_EQ(loaded.planes[0].bytes.data(), t.stored[0]->weights().planes[0].bytes.data());
      }
    }
  }
}

TEST_P(BothKinds, ReadAnyWindowOfRows) {
  const Checkpoint c = open_checkpoint(golden(GetParam()).string());
  for (const CanonicalTensor& t : c.tensors()) {
    const std::vector<float> whole = values(c, t);
    const int64_t rows = t.shape.rows();
    const auto cols = static_cast<size_t>(t.shape.cols());
    for (int64_t row = 0; row < rows; row += 7) {
      const int64_t n = std::min<int64_t>(rows - row, 13);
      std::vector<float> part(static_cast<size_t>(n) * cols);
      c.read_rows(t, row, n, part.data());
      EXPECT_TRUE(
          std::equal(part.begin(), part.end(), whole.begin() + static_cast<ptrdiff_t>(row * t.shape.cols())))
          << t.name << " from row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Archs, BothKinds,
                         ::testing::Values("llama", "llama3", "mixtral", "qwen2", "qwen3", "qwen3moe",
                                           "gemma2", "gemma3", "phi3", "gptneox", "gpt2", "bert"),
                         [](const auto& i) { return std::string(i.param); });

TEST(Checkpoint, OpensThoseWithoutAGgufTwin) {
  for (const char* name : {"opt", "distilbert", "gptneox-seq", "mistral"}) {
    const Checkpoint c = open_checkpoint(golden(name).string());
    EXPECT_GT(c.tensors().size(), 20u) << name;
    for (const UnclaimedTensor& u : c.unclaimed()) EXPECT_TRUE(u.harmless) << u.name << ": " << u.reason;
  }
}

TEST(Checkpoint, TakesTheOtherGelu) {
  EXPECT_EQ(open_checkpoint(golden("gptneox-seq").string()).hparams().activation, Activation::gelu_tanh);
  EXPECT_EQ(open_checkpoint(golden("gptneox").string()).hparams().activation, std::nullopt);
}

TEST(Checkpoint, OpensASafetensorsFileWithItsConfigBeside) {
  const Checkpoint c = open_checkpoint((golden("llama") / "model.safetensors").string());
  EXPECT_EQ(c.hparams().hidden, 32);
}

std::string message_of(const std::string& path) {
  try {
    open_checkpoint(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// A copy of the tiny LLaMA with some of config.json changed.
std::string with_config(const test::Scratch& scratch, const nlohmann::json& changes) {
  fs::copy_file(golden("llama") / "model.safetensors", scratch.path() / "model.safetensors",
                fs::copy_options::overwrite_existing);
  std::ifstream in(golden("llama") / "config.json");
  nlohmann::json config = nlohmann::json::parse(in);
  for (const auto& [key, value] : changes.items()) config[key] = value;
  std::ofstream(scratch.path() / "config.json") << config;
  return scratch.path().string();
}

TEST(Checkpoint, SaysWhatIsWrong) {
  const test::Scratch scratch;
  const auto says = [&](const nlohmann::json& changes, const std::string& part) {
    const std::string message = message_of(with_config(scratch, changes));
    EXPECT_NE(message.find(part), std::string::npos) << changes << " gave: " << message;
  };
  says({{"num_hidden_layers", 3}}, "model.layers.2.input_layernorm.weight");
  says({{"num_hidden_layers", 1 << 30}}, "the number of layers");
  says({{"hidden_size", 64}}, "expected [96, 64]");
  says({{"hidden_size", nullptr}}, "hidden_size (hidden) is absent");
  says({{"num_attention_heads", 0}}, "the number of heads is 0");
  says({{"num_attention_heads", 3}}, "do not divide");
  says({{"num_attention_heads", -4}}, "not a count");
  says({{"num_attention_heads", "four"}}, "is not a number");
  says({{"rms_norm_eps", 7}}, "epsilon");
  says({{"hidden_act", "gelu"}}, "activation \"gelu\"");
  says({{"rope_scaling", {{"type", "ntk"}, {"factor", 2}}}}, "\"ntk\" is not supported");
  says({{"rope_scaling", {{"type", "linear"}}}}, "rope_scaling.factor is absent");
  says({{"architectures", {"NewForCausalLM"}}, {"model_type", "new"}},
       "architecture \"new\" is not supported");
  says({{"tie_word_embeddings", true}}, "no error");
}

TEST(Checkpoint, NamesWhatItLeavesOut) {
  const test::Scratch scratch;
  const Checkpoint tied = open_checkpoint(with_config(scratch, {{"tie_word_embeddings", true}}));
  ASSERT_EQ(tied.unclaimed().size(), 1u);
  EXPECT_EQ(tied.unclaimed()[0].name, "lm_head.weight");
  EXPECT_TRUE(tied.unclaimed()[0].harmless);
  EXPECT_TRUE(tied.hparams().tied);
  const Checkpoint shorter = open_checkpoint(with_config(scratch, {{"num_hidden_layers", 1}}));
  EXPECT_EQ(shorter.unclaimed().size(), 9u);
  for (const UnclaimedTensor& u : shorter.unclaimed()) EXPECT_FALSE(u.harmless) << u.name;
}

}  // namespace
}  // namespace nibble
