#include "arch/fields.h"

namespace nibble {
namespace {

// LLaMA 1-3, Mistral and Mixtral: GGUF knows the three under one name.
size_t hf_variant(const Hparams& h) { return h.experts > 0 ? 2 : h.window > 0 ? 1 : 0; }

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (h.experts > 0) h.expert_ffn = h.ffn;
  // Mistral 7B v0.1 only; llama.cpp's key set for this architecture has no window.
  if (!from_gguf) h.window = meta.integer("sliding_window").value_or(0);
}

std::vector<HfNumber> hf_numbers(const Hparams& h) {
  if (h.window == 0) return {};
  return {{"sliding_window", static_cast<double>(h.window)}};
}

}  // namespace

const Arch& llama_arch() {
  static const Arch arch{
      .name = "llama",
      .gguf = "llama",
      .hf_classes = {"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"},
      .hf_types = {"llama", "mistral", "mixtral"},
      .hf_prefixes = {"model."},
      .fields = concat(
          {common_fields(), grouped_query_fields(), rms_norm_fields(1e-6), rope_theta_fields(10000),
           std::vector<FieldRow>{
               field<&Hparams::rope_dim>("rope_dim", {}, "rope.dimension_count", 0),
               field<&Hparams::experts>("experts", {"num_local_experts"}, "expert_count", 0),
               field<&Hparams::experts_used>("experts_used", {"num_experts_per_tok"}, "expert_used_count", 0),
           }}),
      .tensors = concat(
          {llama_outer_rows(), llama_norm_rows(), attention_rows(Rewrite::rope_rows_q, Rewrite::rope_rows_k),
           gated_mlp_rows(),
           std::vector<TensorRow>{
               {"rope_freqs.weight", "", Role::rope_factors, Rewrite::none, true},
               {"blk.{l}.ffn_gate_inp.weight", "model.layers.{l}.block_sparse_moe.gate.weight", Role::router},
               {"blk.{l}.ffn_gate_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w1.weight",
                Role::expert_gate, Rewrite::stack_experts},
               {"blk.{l}.ffn_down_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w2.weight",
                Role::expert_down, Rewrite::stack_experts},
               {"blk.{l}.ffn_up_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w3.weight",
                Role::expert_up, Rewrite::stack_experts},
           }}),
      .layer = {NormStep{"attn_norm"}, AttentionStep{}, AddStep{}, NormStep{"ffn_norm"}, MoeStep{},
                AddStep{}},
      .rope = RopeStyle::interleaved,
      .default_pre = "llama-bpe",
      .finish = finish,
      .hf_variant = hf_variant,
      .hf_numbers = hf_numbers,
      .hf_constants = {{"hidden_act", "\"silu\""}},
  };
  return arch;
}

}  // namespace nibble
