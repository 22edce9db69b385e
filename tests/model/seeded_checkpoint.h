#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "containers/json_meta.h"
#include "containers/tensor_sink.h"
#include "model/checkpoint_data.h"

namespace nibble::test {

/// A small model of random weights, told by its config.json.
struct SeededModel {
  const char* name;
  const char* config;
};

/// One for every architecture that llama.cpp runs as a language model; vocabulary of 8192.
inline const std::vector<SeededModel>& seeded_models() {
  static const std::vector<SeededModel> models{
      {"llama", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"llama3", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "head_dim": 32, "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64}, "attention_bias": true, "hidden_act": "silu",
        "tie_word_embeddings": true})"},
      {"yarn", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"mixtral", R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 8192, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"qwen2", R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "hidden_act": "silu", "tie_word_embeddings": true, "use_sliding_window": false})"},
      {"qwen3",
       R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "head_dim": 32,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"qwen3moe", R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 64,
        "head_dim": 32, "intermediate_size": 160, "moe_intermediate_size": 48, "num_experts": 6,
        "num_experts_per_tok": 2, "norm_topk_prob": true, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"gemma2",
       R"({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_size": 64, "head_dim": 32,
        "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
        "query_pre_attn_scalar": 32, "sliding_window": 32, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh"})"},
      {"gemma3", R"({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 64,
        "head_dim": 32, "intermediate_size": 128, "num_hidden_layers": 7, "num_attention_heads": 4,
        "num_key_value_heads": 1, "vocab_size": 8192, "max_position_embeddings": 512, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 32, "sliding_window": 32,
        "sliding_window_pattern": 6, "hidden_activation": "gelu_pytorch_tanh"})"},
      {"phi", R"({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 64,
        "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "partial_rotary_factor": 0.5, "vocab_size": 8192, "max_position_embeddings": 512,
        "original_max_position_embeddings": 512, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false})"},
      {"gptneox", R"({"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_size": 64,
        "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 8192,
        "max_position_embeddings": 512, "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-05,
        "use_parallel_residual": true, "hidden_act": "gelu", "tie_word_embeddings": false})"},
      {"gpt2",
       R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4,
        "n_positions": 512, "n_ctx": 512, "vocab_size": 8192, "layer_norm_epsilon": 1e-05,
        "activation_function": "gelu_new"})"},
  };
  return models;
}

/// Weights of one stored tensor: norms near one, small biases, matrices that keep the size of what goes
/// through them, embeddings and output that give logits a spread of about two.
inline std::vector<float> seeded_weights(const CanonicalTensor& t, int64_t fan_in, const std::string& name) {
  uint64_t seed = 14695981039346656037u;  // FNV-1a
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211u;
  Rng rng(seed);
  double mean = 0, spread = 1.3 / std::sqrt(static_cast<double>(fan_in));
  if (t.role == Role::norm) mean = t.rewrite == Rewrite::plus_one ? 0 : 1, spread = 0.1;
  if (t.role == Role::bias) spread = 0.1;
  if (t.role == Role::token_embedding) spread = 0.25;
  if (t.role == Role::position_embedding) spread = 0.1;
  if (t.role == Role::output) spread = 2 / std::sqrt(static_cast<double>(fan_in));
  std::vector<float> x(static_cast<size_t>(t.shape.elements()));
  for (float& v : x) {
    // Nearly normal, of variance one, and without a library function that could round otherwise elsewhere.
    const double sum = rng.uniform() + rng.uniform() + rng.uniform() - 1.5;
    v = static_cast<float>(mean + spread * 2 * sum);
  }
  return x;
}

/// Writes a Hugging Face folder of f32 weights, the same bytes every time. `tokenizer` is a tokenizer.model
/// to put beside them.
inline void write_seeded_checkpoint(const SeededModel& model, const std::filesystem::path& folder,
                                    const std::filesystem::path& tokenizer) {
  const Meta config = parse_json_meta(model.config, "config.json");
  const Arch& arch = *arch_of_hf(config);
  const Hparams h = read_hparams(arch, config, false);
  std::vector<PlannedTensor> planned;
  std::vector<std::vector<float>> weights;
  const auto add = [&](const TensorRow& row, int64_t layer, int64_t expert) {
    CanonicalTensor t;
    t.role = row.role;
    t.rewrite = row.rewrite;
    std::vector<int64_t> dims = tensor_shape(arch, row, h).dims();
    if (expert >= 0) dims.erase(dims.begin());
    const int64_t fan_in = dims.back();
    if (row.rewrite == Rewrite::transpose) std::swap(dims.at(0), dims.at(1));
    t.shape = Shape(dims);
    const std::string name = tensor_name(row.hf, layer, expert);
    planned.push_back({name, t.shape, &format_of("f32"), DType::f32});
    weights.push_back(seeded_weights(t, fan_in, name));
  };
  const bool biases = config.boolean("attention_bias").value_or(arch.name == "qwen2");
  const bool tied = config.boolean("tie_word_embeddings").value_or(true);
  for (int64_t layer = -1; layer < h.layers; ++layer) {
    for (const TensorRow& row : arch.tensors) {
      if ((row.name.find("{l}") == std::string_view::npos) != (layer < 0)) continue;
      if (row.hf.empty() || !tensor_applies(arch, row, h)) continue;
      if (row.role == Role::output && tied) continue;
      const bool qkv = row.name.find("attn_q.") != row.name.npos ||
                       row.name.find("attn_k.") != row.name.npos || row.name.find("attn_v.") != row.name.npos;
      if (row.role == Role::bias && row.optional && !(biases && qkv)) continue;
      if (row.rewrite != Rewrite::stack_experts) add(row, layer, -1);
      if (row.rewrite != Rewrite::stack_experts) continue;
      for (int64_t e = 0; e < h.experts; ++e) add(row, layer, e);
    }
  }
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << model.config;
  if (!tokenizer.empty()) {
    std::filesystem::copy_file(tokenizer, folder / "tokenizer.model",
                               std::filesystem::copy_options::overwrite_existing);
  }
  TensorSink sink(plan_safetensors(folder.string(), planned));
  for (size_t i = 0; i < weights.size(); ++i)
    sink.write(i, 0, 0, std::as_bytes(std::span<const float>(weights[i])));
  sink.finish();
}

}  // namespace nibble::test
