#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/rng.h"
#include "containers/tensor_sink.h"

namespace nibble::test {

/// Shape of a random LLaMA-type checkpoint.
struct MadeModel {
  int64_t hidden = 256, ffn = 512, layers = 2, heads = 4, kv_heads = 2, vocab = 512;
  uint64_t seed = 1;
  std::string poison;        ///< name of a tensor that receives one NaN
  uint64_t shard_bytes = 0;  ///< 0: one file
};

/// Writes a Hugging Face folder with seeded bf16 weights (no tokenizer), in windows: the model may be larger
/// than memory.
inline void make_checkpoint(const std::filesystem::path& folder, const MadeModel& m) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json")
      << R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":)" << m.hidden
      << R"(,"intermediate_size":)" << m.ffn << R"(,"num_hidden_layers":)" << m.layers
      << R"(,"num_attention_heads":)" << m.heads << R"(,"num_key_value_heads":)" << m.kv_heads
      << R"(,"vocab_size":)" << m.vocab
      << R"(,"max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_theta":10000,"tie_word_embeddings":false,"torch_dtype":"bfloat16"})";
  const Format& bf16 = format_of("bf16");
  const int64_t kv = m.hidden / m.heads * m.kv_heads;
  std::vector<PlannedTensor> tensors{{"model.embed_tokens.weight", Shape{m.vocab, m.hidden}, &bf16}};
  for (int64_t l = 0; l < m.layers; ++l) {
    const std::string p = "model.layers." + std::to_string(l) + ".";
    tensors.push_back({p + "input_layernorm.weight", Shape{m.hidden}, &bf16});
    tensors.push_back({p + "self_attn.q_proj.weight", Shape{m.hidden, m.hidden}, &bf16});
    tensors.push_back({p + "self_attn.k_proj.weight", Shape{kv, m.hidden}, &bf16});
    tensors.push_back({p + "self_attn.v_proj.weight", Shape{kv, m.hidden}, &bf16});
    tensors.push_back({p + "self_attn.o_proj.weight", Shape{m.hidden, m.hidden}, &bf16});
    tensors.push_back({p + "post_attention_layernorm.weight", Shape{m.hidden}, &bf16});
    tensors.push_back({p + "mlp.gate_proj.weight", Shape{m.ffn, m.hidden}, &bf16});
    tensors.push_back({p + "mlp.up_proj.weight", Shape{m.ffn, m.hidden}, &bf16});
    tensors.push_back({p + "mlp.down_proj.weight", Shape{m.hidden, m.ffn}, &bf16});
  }
  tensors.push_back({"model.norm.weight", Shape{m.hidden}, &bf16});
  tensors.push_back({"lm_head.weight", Shape{m.vocab, m.hidden}, &bf16});
  TensorSink sink(plan_safetensors(folder.string(), tensors, {{"format", "pt"}}, m.shard_bytes));
  Rng rng(m.seed);
  std::vector<uint16_t> window;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const int64_t n = tensors[t].shape.elements();
    const bool norm = tensors[t].shape.rank() == 1;
    for (int64_t at = 0; at < n; at += 1 << 20) {
      window.resize(static_cast<size_t>(std::min<int64_t>(1 << 20, n - at)));
      for (uint16_t& w : window) {
        // A sum of four uniforms is near enough to a normal and much quicker.
        const uint64_t r = rng.next();
        const double u =
            static_cast<double>((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48)) /
                131070.0 -
            1;
        w = f32_to_bf16(static_cast<float>(norm ? 1 + 0.1 * u : 0.05 * u));
      }
      if (at == 0 && tensors[t].name == m.poison) window[window.size() / 2] = 0x7fc0;
      sink.write(t, 0, static_cast<uint64_t>(at) * 2, std::as_bytes(std::span(window)));
    }
  }
  sink.finish();
}

inline std::string file_bytes(const std::filesystem::path& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace nibble::test
