#include <cmath>

#include "arch/fields.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (from_gguf) return;
  h.window = meta.integer("sliding_window").value_or(0);
  double part = meta.number("partial_rotary_factor").value_or(1);
  part = meta.number("rope_parameters.partial_rotary_factor").value_or(part);
  h.rope_dim = static_cast<int64_t>(part * static_cast<double>(h.head_dim));
}

std::vector<HfNumber> hf_numbers(const Hparams& h) {
  const auto dim = static_cast<double>(h.rope_dim);
  std::vector<HfNumber> all{
      {"original_max_position_embeddings",
       static_cast<double>(h.rope_original_context > 0 ? h.rope_original_context : h.context)}};
  if (h.rope_dim != h.head_dim)
    all.push_back({"partial_rotary_factor", dim / static_cast<double>(h.head_dim)});
  return all;
}

}  // namespace

const Arch& phi3_arch() {
  static const Arch arch{
      .name = "phi3",
      .gguf = "phi3",
      .hf_classes = {"Phi3ForCausalLM"},
      .hf_types = {"phi3"},
      .hf_prefixes = {"model."},
      .fields = concat(
          {common_fields(), rms_norm_fields(1e-5), rope_theta_fields(10000),
           std::vector<FieldRow>{
               field<&Hparams::kv_heads>("kv_heads", {"num_key_value_heads"}, "attention.head_count_kv", 0),
               field<&Hparams::rope_dim>("rope_dim", {}, "rope.dimension_count", 0),
               field<&Hparams::window>("window", {"sliding_window"}, "attention.sliding_window", 0),
           }}),
      .tensors = concat(
          {llama_outer_rows(), llama_norm_rows(),
           std::vector<TensorRow>{
               {"blk.{l}.attn_qkv.weight", "model.layers.{l}.self_attn.qkv_proj.weight", Role::attn_qkv},
               {"blk.{l}.attn_output.weight", "model.layers.{l}.self_attn.o_proj.weight", Role::attn_output},
               {"blk.{l}.ffn_up.weight", "model.layers.{l}.mlp.gate_up_proj.weight", Role::ffn_gate_up},
               {"blk.{l}.ffn_down.weight", "model.layers.{l}.mlp.down_proj.weight", Role::ffn_down},
               {"rope_factors_long.weight", "", Role::rope_factors, Rewrite::none, true},
               {"rope_factors_short.weight", "", Role::rope_factors, Rewrite::none, true},
           }}),
      .layer = {NormStep{"attn_norm"}, AttentionStep{.fused_qkv = true}, AddStep{}, NormStep{"ffn_norm"},
                MlpStep{.fused_gate_up = true}, AddStep{}},
      .rope = RopeStyle::half,
      .finish = finish,
      .hf_numbers = hf_numbers,
      .hf_constants = {{"hidden_act", "\"silu\""}},
  };
  return arch;
}

}  // namespace nibble
