// Hyper-parameters as the published config.json files of well-known models state them.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "base/error.h"

namespace nibble {
namespace {

using nlohmann::json;

MetaValue list_of(const json& list) {
  if (!list.empty() && list[0].is_string()) return list.get<std::vector<std::string>>();
  if (!list.empty() && list[0].is_number_float()) return list.get<std::vector<double>>();
  return list.get<std::vector<int64_t>>();
}

void flatten(const json& object, const std::string& prefix, Meta& meta) {
  for (const auto& [key, v] : object.items()) {
    if (v.is_object()) flatten(v, prefix + key + ".", meta);
    if (v.is_boolean()) meta.set(prefix + key, v.get<bool>());
    if (v.is_number_integer()) meta.set(prefix + key, v.get<int64_t>());
    if (v.is_number_float()) meta.set(prefix + key, v.get<double>());
    if (v.is_string()) meta.set(prefix + key, v.get<std::string>());
    if (v.is_array()) meta.set(prefix + key, list_of(v));
  }
}

Hparams read(const std::string& text, const char* arch) {
  Meta meta;
  flatten(json::parse(text), "", meta);
  const Arch* found = arch_of_hf(meta);
  EXPECT_NE(found, nullptr);
  EXPECT_EQ(found->name, arch);
  return read_hparams(*found, meta, false);
}

TEST(Hparams, Llama2) {
  const Hparams h = read(R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16", "vocab_size": 32000})",
                         "llama");
  EXPECT_EQ(h.vocab, 32000);
  EXPECT_EQ(h.hidden, 4096);
  EXPECT_EQ(h.ffn, 11008);
  EXPECT_EQ(h.layers, 32);
  EXPECT_EQ(h.context, 4096);
  EXPECT_EQ(h.kv_heads, 32);
  EXPECT_EQ(h.head_dim, 128);
  EXPECT_EQ(h.rope_dim, 128);
  EXPECT_EQ(h.rope_theta, 10000);
  EXPECT_EQ(h.norm_eps, 1e-5);
  EXPECT_EQ(h.rope_scaling, RopeScaling::none);
  EXPECT_EQ(h.window, 0);
  EXPECT_FALSE(h.tied);
}

constexpr const char* llama_31 = R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128256})";

TEST(Hparams, Llama31) {
  const Hparams h = read(llama_31, "llama");
  EXPECT_EQ(h.kv_heads, 8);
  EXPECT_EQ(h.rope_theta, 500000);
  EXPECT_EQ(h.rope_scaling, RopeScaling::llama3);
  EXPECT_EQ(h.rope_factor, 8);
  EXPECT_EQ(h.rope_original_context, 8192);
  const std::vector<float> factors = llama3_rope_factors(h);
  ASSERT_EQ(factors.size(), 64u);
  EXPECT_EQ(factors.front(), 1.0F);
  EXPECT_EQ(factors.back(), 8.0F);
  // Frequency 32 has the wavelength 2 pi sqrt(500000) = 4442.88, between 8192 / 4 and 8192.
  const double smooth = (8192 / 4442.88 - 1) / 3;
  EXPECT_NEAR(factors[32], 1 / ((1 - smooth) / 8 + smooth), 1e-4);
}

TEST(Hparams, RopeParametersOfLaterFiles) {
  json config = json::parse(llama_31);
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_theta"] = 500000.0;
  config.erase("rope_theta");
  config.erase("rope_scaling");
  const Hparams h = read(config.dump(), "llama");
  EXPECT_EQ(h.rope_theta, 500000);
  EXPECT_EQ(h.rope_scaling, RopeScaling::llama3);
  EXPECT_EQ(h.rope_factor, 8);
}

TEST(Hparams, Yarn) {
  json config = json::parse(llama_31);
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  const Hparams h = read(config.dump(), "llama");
  EXPECT_EQ(h.rope_scaling, RopeScaling::yarn);
  EXPECT_EQ(h.rope_factor, 4);
  EXPECT_EQ(h.rope_original_context, 32768);
  EXPECT_EQ(h.rope_beta_fast, 32);
  EXPECT_EQ(h.rope_attn_factor, 0);
}

TEST(Hparams, Mistral7B) {
  const Hparams h =
      read(R"({"architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32000})",
           "llama");
  EXPECT_EQ(h.window, 4096);
  EXPECT_EQ(h.window_every, 0);
  EXPECT_EQ(h.kv_heads, 8);
  EXPECT_EQ(h.experts, 0);
}

TEST(Hparams, Mixtral8x7B) {
  const Hparams h =
      read(R"({"architectures": ["MixtralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
    "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "num_local_experts": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
    "tie_word_embeddings": false, "vocab_size": 32000})",
           "llama");
  EXPECT_EQ(h.experts, 8);
  EXPECT_EQ(h.experts_used, 2);
  EXPECT_EQ(h.expert_ffn, 14336);
  EXPECT_TRUE(h.experts_renormalize);
  EXPECT_EQ(h.window, 0);
  EXPECT_EQ(h.rope_theta, 1e6);
}

TEST(Hparams, Qwen25) {
  const Hparams h = read(R"({"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 896,
    "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2",
    "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "use_sliding_window": false,
    "vocab_size": 151936})",
                         "qwen2");
  EXPECT_EQ(h.heads, 14);
  EXPECT_EQ(h.kv_heads, 2);
  EXPECT_EQ(h.head_dim, 64);
  EXPECT_EQ(h.window, 0);
  EXPECT_TRUE(h.tied);
}

TEST(Hparams, Qwen3) {
  const Hparams h = read(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "tie_word_embeddings": true,
    "use_sliding_window": false, "vocab_size": 151936})",
                         "qwen3");
  EXPECT_EQ(h.head_dim, 128);  // not 1024 / 16
  EXPECT_EQ(h.rope_dim, 128);
  EXPECT_EQ(h.rope_theta, 1e6);
}

constexpr const char* qwen3_moe = R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
    "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
    "max_position_embeddings": 40960, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 48, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936})";

TEST(Hparams, Qwen3Moe) {
  const Hparams h = read(qwen3_moe, "qwen3moe");
  EXPECT_EQ(h.experts, 128);
  EXPECT_EQ(h.experts_used, 8);
  EXPECT_EQ(h.expert_ffn, 768);
  EXPECT_TRUE(h.experts_renormalize);
  json dense = json::parse(qwen3_moe);
  dense["mlp_only_layers"] = {0, 1};
  EXPECT_THROW(read(dense.dump(), "qwen3moe"), Error);
}

TEST(Hparams, Gemma2) {
  const Hparams h = read(R"({"architectures": ["Gemma2ForCausalLM"], "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
    "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26,
    "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
    "sliding_window": 4096, "vocab_size": 256000})",
                         "gemma2");
  EXPECT_EQ(h.attn_softcap, 50);
  EXPECT_EQ(h.logit_softcap, 30);
  EXPECT_EQ(h.window, 4096);
  EXPECT_EQ(h.window_every, 2);
  EXPECT_EQ(h.query_scale, 1.0 / 16);
  EXPECT_EQ(h.embedding_scale, std::sqrt(2304.0));
  EXPECT_EQ(h.head_dim, 256);
}

TEST(Hparams, Gemma3) {
  const Hparams h = read(R"({"architectures": ["Gemma3ForCausalLM"], "attn_logit_softcapping": null,
    "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text",
    "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144})",
                         "gemma3");
  EXPECT_EQ(h.kv_heads, 1);
  EXPECT_EQ(h.window, 512);
  EXPECT_EQ(h.window_every, 6);
  EXPECT_EQ(h.rope_theta, 1e6);
  EXPECT_EQ(h.rope_theta_local, 1e4);
  EXPECT_EQ(h.logit_softcap, 0);
  EXPECT_EQ(h.attn_softcap, 0);
}

TEST(Hparams, Gemma3TextPartOfAMultiModalModel) {
  const Hparams h = read(R"({"architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 106],
    "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240,
    "model_type": "gemma3_text", "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024, "vocab_size": 262208}, "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}})",
                         "gemma3");
  EXPECT_EQ(h.hidden, 2560);
  EXPECT_EQ(h.heads, 8);
  EXPECT_EQ(h.layers, 34);
  EXPECT_EQ(h.rope_scaling, RopeScaling::linear);
  EXPECT_EQ(h.rope_factor, 8);
  EXPECT_EQ(h.window, 1024);
}

TEST(Hparams, Gemma3LayerTypes) {
  json config = {{"model_type", "gemma3_text"},
                 {"hidden_size", 64},
                 {"intermediate_size", 64},
                 {"num_hidden_layers", 4},
                 {"vocab_size", 10}};
  const char* full = "full_attention";
  const char* local = "sliding_attention";
  config["layer_types"] = {local, full, local, full};
  EXPECT_EQ(read(config.dump(), "gemma3").window_every, 2);
  config["layer_types"] = {full, local, local, full};
  EXPECT_THROW(read(config.dump(), "gemma3"), Error);
}

TEST(Hparams, Phi3Mini) {
  const Hparams h = read(R"({"architectures": ["Phi3ForCausalLM"], "hidden_act": "silu", "hidden_size": 3072,
    "intermediate_size": 8192, "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047,
    "tie_word_embeddings": false, "vocab_size": 32064})",
                         "phi3");
  EXPECT_EQ(h.head_dim, 96);
  EXPECT_EQ(h.rope_dim, 96);
  EXPECT_EQ(h.window, 2047);
}

TEST(Hparams, PhiLongRope) {
  json config = json::parse(R"({"architectures": ["Phi3ForCausalLM"], "hidden_act": "silu", "hidden_size": 64,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "num_attention_heads": 2, "num_hidden_layers": 2,
    "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "sliding_window": 262144, "vocab_size": 32064})");
  config["rope_scaling"] = {{"type", "longrope"},
                            {"long_factor", {1.5, 2, 3, 4, 5, 6, 7, 64.5}},
                            {"short_factor", {1.0, 1, 1, 1, 1, 1, 1, 2}}};
  const Hparams h = read(config.dump(), "phi3");
  EXPECT_EQ(h.rope_dim, 16);
  EXPECT_EQ(h.rope_scaling, RopeScaling::longrope);
  EXPECT_EQ(h.rope_original_context, 4096);
  EXPECT_EQ(h.rope_factor, 32);
  EXPECT_EQ(h.rope_long.back(), 64.5);
  config["rope_scaling"]["long_factor"] = {1.5, 2};
  EXPECT_THROW(read(config.dump(), "phi3"), Error);
}

TEST(Hparams, Pythia410m) {
  const Hparams h =
      read(R"({"architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu", "hidden_size": 1024,
    "intermediate_size": 4096, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "gpt_neox",
    "num_attention_heads": 16, "num_hidden_layers": 24, "rotary_emb_base": 10000, "rotary_pct": 0.25,
    "tie_word_embeddings": false, "use_parallel_residual": true, "vocab_size": 50304})",
           "gptneox");
  EXPECT_EQ(h.head_dim, 64);
  EXPECT_EQ(h.rope_dim, 16);
  EXPECT_TRUE(h.parallel_residual);
  EXPECT_EQ(h.vocab, 50304);
}

TEST(Hparams, Gpt2) {
  const Hparams h = read(R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
    "n_positions": 1024, "vocab_size": 50257,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}})",
                         "gpt2");
  EXPECT_EQ(h.ffn, 3072);
  EXPECT_EQ(h.head_dim, 64);
  EXPECT_EQ(h.context, 1024);
  EXPECT_EQ(h.rope_dim, 0);
}

TEST(Hparams, Opt125m) {
  const Hparams h = read(R"({"activation_function": "relu", "architectures": ["OPTForCausalLM"],
    "do_layer_norm_before": true, "ffn_dim": 3072, "hidden_size": 768, "max_position_embeddings": 2048,
    "model_type": "opt", "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 50272,
    "word_embed_proj_dim": 768})",
                         "opt");
  EXPECT_EQ(h.ffn, 3072);
  EXPECT_EQ(h.position_offset, 2);
  EXPECT_EQ(h.norm_eps, 1e-5);
  EXPECT_THROW(read(R"({"architectures": ["OPTForCausalLM"], "do_layer_norm_before": false, "ffn_dim": 4096,
    "hidden_size": 1024, "max_position_embeddings": 2048, "num_attention_heads": 16, "num_hidden_layers": 24,
    "vocab_size": 50272, "word_embed_proj_dim": 512})",
                    "opt"),
               Error);
}

TEST(Hparams, BertBase) {
  const Hparams h = read(R"({"architectures": ["BertForMaskedLM"], "hidden_act": "gelu", "hidden_size": 768,
    "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
    "num_attention_heads": 12, "num_hidden_layers": 12, "position_embedding_type": "absolute",
    "type_vocab_size": 2, "vocab_size": 30522})",
                         "bert");
  EXPECT_EQ(h.token_types, 2);
  EXPECT_EQ(h.norm_eps, 1e-12);
  EXPECT_EQ(h.context, 512);
}

TEST(Hparams, DistilBert) {
  const Hparams h = read(R"({"activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "dim": 768,
    "hidden_dim": 3072, "max_position_embeddings": 512, "model_type": "distilbert", "n_heads": 12, "n_layers": 6,
    "sinusoidal_pos_embds": false, "tie_weights_": true, "vocab_size": 30522})",
                         "distilbert");
  EXPECT_EQ(h.layers, 6);
  EXPECT_EQ(h.ffn, 3072);
  EXPECT_EQ(h.token_types, 0);
  EXPECT_EQ(h.norm_eps, 1e-12);
}

// --- GGUF metadata

Meta gguf_llama() {
  Meta m;
  m.set("general.architecture", std::string("llama"));
  m.set("llama.vocab_size", int64_t{100});
  m.set("llama.context_length", int64_t{64});
  m.set("llama.embedding_length", int64_t{32});
  m.set("llama.block_count", int64_t{2});
  m.set("llama.feed_forward_length", int64_t{48});
  m.set("llama.attention.head_count", int64_t{4});
  m.set("llama.attention.layer_norm_rms_epsilon", 1e-5);
  return m;
}

Hparams read_gguf(const Meta& m) { return read_hparams(*arch_of_gguf("llama"), m, true); }

std::string refusal(const Meta& m) {
  try {
    read_gguf(m);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(GgufHparams, TakesListsWhereAllLayersAgree) {
  Meta m = gguf_llama();
  m.set("llama.attention.head_count_kv", std::vector<int64_t>{2, 2});
  EXPECT_EQ(read_gguf(m).kv_heads, 2);
  m.set("llama.attention.head_count_kv", std::vector<int64_t>{2, 4});
  EXPECT_NE(refusal(m).find("differs from layer to layer"), std::string::npos);
  m.set("llama.attention.head_count_kv", std::vector<int64_t>{});
  EXPECT_NE(refusal(m).find("empty list"), std::string::npos);
}

TEST(GgufHparams, ReadsRopeScaling) {
  Meta m = gguf_llama();
  EXPECT_EQ(read_gguf(m).rope_scaling, RopeScaling::none);
  m.set("llama.rope.scaling.type", std::string("linear"));
  m.set("llama.rope.scaling.factor", 4.0);
  EXPECT_EQ(read_gguf(m).rope_scaling, RopeScaling::linear);
  m.set("llama.rope.scaling.type", std::string("yarn"));
  m.set("llama.rope.scaling.original_context_length", int64_t{16});
  const Hparams h = read_gguf(m);
  EXPECT_EQ(h.rope_scaling, RopeScaling::yarn);
  EXPECT_EQ(h.rope_original_context, 16);
  EXPECT_EQ(h.rope_attn_factor, 0);
  m.set("llama.rope.scaling.original_context_length", int64_t{0});
  EXPECT_NE(refusal(m).find("not a positive count"), std::string::npos);
}

TEST(GgufHparams, RefusesTheAbsurd) {
  const auto refuses = [](const char* key, const MetaValue& value, const char* part) {
    Meta m = gguf_llama();
    m.set(key, value);
    EXPECT_NE(refusal(m).find(part), std::string::npos) << key << ": " << refusal(m);
  };
  refuses("llama.embedding_length", int64_t{0}, "the hidden width is 0");
  refuses("llama.embedding_length", int64_t{1} << 40, "not a count");
  refuses("llama.embedding_length", 32.5, "not a count");
  refuses("llama.embedding_length", std::nan(""), "is not finite");
  refuses("llama.block_count", int64_t{-1}, "not a count");
  refuses("llama.attention.head_count_kv", int64_t{3}, "do not divide");
  refuses("llama.attention.head_count_kv", int64_t{8}, "key/value heads is 8");
  refuses("llama.rope.dimension_count", int64_t{7}, "7 rotating entries");
  refuses("llama.rope.freq_base", 0.0, "the rope base is zero");
  refuses("llama.attention.layer_norm_rms_epsilon", -1.0, "makes no sense");
  refuses("llama.attention.value_length", int64_t{4}, "values of another size");
  refuses("llama.expert_count", int64_t{4}, "the number of experts used");
  Meta m = gguf_llama();
  m.erase("llama.block_count");
  EXPECT_EQ(refusal(m), "GGUF key llama.block_count (layers) is absent");
}

}  // namespace
}  // namespace nibble
