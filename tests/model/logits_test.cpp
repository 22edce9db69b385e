// Real models against logits that numpy computed from the same weights (SOURCE.txt beside them).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "model/executor.h"
#include "model/small_model.h"
#include "support/data.h"
#include "support/npz.h"

namespace nibble {
namespace {

/// A LLaMA folder read by hand, so that this test leans on nothing but the program.
struct HandRead {
  Hparams hparams;
  test::MapSource source;
};

HandRead read_folder(const std::filesystem::path& folder) {
  HandRead r;
  Hparams& h = r.hparams;
  const auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  h.vocab = config["vocab_size"];
  h.hidden = config["hidden_size"];
  h.layers = config["num_hidden_layers"];
  h.context = config["max_position_embeddings"];
  h.heads = config["num_attention_heads"];
  h.kv_heads = config["num_key_value_heads"];
  h.head_dim = h.rope_dim = h.hidden / h.heads;
  h.ffn = config["intermediate_size"];
  h.norm_eps = config["rms_norm_eps"];
  h.tied = config["tie_word_embeddings"];
  const MappedFile file((folder / "model.safetensors").string());
  uint64_t length;
  std::memcpy(&length, file.data().data(), 8);
  const auto* text = reinterpret_cast<const char*>(file.data().data()) + 8;
  const auto header = nlohmann::json::parse(text, text + length);
  const auto* data = file.data().data() + 8 + length;
  const auto take = [&](const std::string& hf, const std::string& name, int64_t heads = 0) {
    const auto& entry = header.at(hf + ".weight");
    const Shape shape(entry["shape"].get<std::vector<int64_t>>());
    std::vector<float> x(static_cast<size_t>(shape.elements()));
    std::memcpy(x.data(), data + entry["data_offsets"][0].get<size_t>(), x.size() * sizeof(float));
    if (heads > 0) {  // rows of each head from half-split to interleaved order
      const int64_t half = shape[0] / heads / 2, cols = shape[1];
      std::vector<float> y(x.size());
      for (int64_t row = 0; row < shape[0]; ++row) {
        const int64_t head = row / (2 * half), s = row % (2 * half) / half, i = row % half;
        std::copy_n(x.begin() + row * cols, cols, y.begin() + (head * 2 * half + 2 * i + s) * cols);
      }
      x = y;
    }
    r.source.set(name + ".weight", shape, x);
  };
  take("model.embed_tokens", "token_embd");
  take("model.norm", "output_norm");
  for (int64_t l = 0; l < h.layers; ++l) {
    const std::string hf = "model.layers." + std::to_string(l) + ".", p = "blk." + std::to_string(l) + ".";
    take(hf + "input_layernorm", p + "attn_norm");
    take(hf + "post_attention_layernorm", p + "ffn_norm");
    take(hf + "self_attn.q_proj", p + "attn_q", h.heads);
    take(hf + "self_attn.k_proj", p + "attn_k", h.kv_heads);
    take(hf + "self_attn.v_proj", p + "attn_v");
    take(hf + "self_attn.o_proj", p + "attn_output");
    take(hf + "mlp.gate_proj", p + "ffn_gate");
    take(hf + "mlp.up_proj", p + "ffn_up");
    take(hf + "mlp.down_proj", p + "ffn_down");
  }
  return r;
}

class ProbeLogits : public testing::TestWithParam<const char*> {};

TEST_P(ProbeLogits, AreReached) {
  NIBBLE_NEEDS_DATA(folder, std::string("models/") + GetParam() + "/hf_converted");
  auto probe = test::read_npz(folder / "probe_logits.npz");
  const std::vector<int32_t> tokens = probe.at("tokens").ints();
  const HandRead model = read_folder(folder);
  ThreadPool pool(2);
  const Program program = build_program(test::llama_like(), model.hparams, model.source, pool);
  KvCache cache = program.cache(model.hparams.context);
  Executor executor(program, pool);
  const auto logits = executor.run(tokens, cache, Want::all);
  const auto& expected = probe.at("logits").values;
  ASSERT_EQ(logits.size(), expected.size());
  double worst = 0;
  for (size_t i = 0; i < logits.size(); ++i) worst = std::max(worst, std::fabs(logits[i] - expected[i]));
  RecordProperty("worst", std::to_string(worst));
  std::printf("%s: largest difference %.2g\n", GetParam(), worst);
  EXPECT_LE(worst, 1e-4);
  EXPECT_EQ(cache.length(), static_cast<int64_t>(tokens.size()));
}

INSTANTIATE_TEST_SUITE_P(Models, ProbeLogits, testing::Values("stories260k", "babyllama-tok105"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
