#include "arch/fields.h"

namespace nibble {

std::vector<FieldRow> common_fields() {
  return {
      field<&Hparams::vocab>("vocab", {"vocab_size"}, "vocab_size", 0),
      field<&Hparams::context>("context", {"max_position_embeddings"}, "context_length"),
      field<&Hparams::hidden>("hidden", {"hidden_size"}, "embedding_length"),
      field<&Hparams::layers>("layers", {"num_hidden_layers"}, "block_count"),
      field<&Hparams::ffn>("ffn", {"intermediate_size"}, "feed_forward_length"),
      field<&Hparams::heads>("heads", {"num_attention_heads"}, "attention.head_count"),
  };
}

std::vector<FieldRow> grouped_query_fields() {
  return {
      field<&Hparams::kv_heads>("kv_heads", {"num_key_value_heads"}, "attention.head_count_kv", 0),
      field<&Hparams::head_dim>("head_dim", {"head_dim"}, "attention.key_length", 0),
      // Written beside key_length; read_hparams checks that both agree.
      {"value_dim",
       {},
       "attention.value_length",
       FieldKind::count,
       [](Hparams&, double) {},
       [](const Hparams& h) { return static_cast<double>(h.head_dim); },
       0},
  };
}

std::vector<FieldRow> rms_norm_fields(double fallback) {
  return {
      field<&Hparams::norm_eps>("norm_eps", {"rms_norm_eps"}, "attention.layer_norm_rms_epsilon", fallback)};
}

std::vector<FieldRow> rope_theta_fields(double fallback) {
  return {field<&Hparams::rope_theta>(
      "rope_theta", {"rope_parameters.rope_theta", "rope_parameters.full_attention.rope_theta", "rope_theta"},
      "rope.freq_base", fallback)};
}

std::vector<TensorRow> llama_outer_rows() {
  return {
      {"token_embd.weight", "model.embed_tokens.weight", Role::token_embedding},
      {"output_norm.weight", "model.norm.weight", Role::norm},
      {"output.weight", "lm_head.weight", Role::output, Rewrite::none, true},
  };
}

std::vector<TensorRow> llama_norm_rows() {
  return {
      {"blk.{l}.attn_norm.weight", "model.layers.{l}.input_layernorm.weight", Role::norm},
      {"blk.{l}.ffn_norm.weight", "model.layers.{l}.post_attention_layernorm.weight", Role::norm},
  };
}

std::vector<TensorRow> attention_rows(Rewrite rewrite_q, Rewrite rewrite_k) {
  return {
      {"blk.{l}.attn_q.weight", "model.layers.{l}.self_attn.q_proj.weight", Role::attn_q, rewrite_q},
      {"blk.{l}.attn_k.weight", "model.layers.{l}.self_attn.k_proj.weight", Role::attn_k, rewrite_k},
      {"blk.{l}.attn_v.weight", "model.layers.{l}.self_attn.v_proj.weight", Role::attn_v},
      {"blk.{l}.attn_output.weight", "model.layers.{l}.self_attn.o_proj.weight", Role::attn_output},
      {"blk.{l}.attn_q.bias", "model.layers.{l}.self_attn.q_proj.bias", Role::bias, rewrite_q, true},
      {"blk.{l}.attn_k.bias", "model.layers.{l}.self_attn.k_proj.bias", Role::bias, rewrite_k, true},
      {"blk.{l}.attn_v.bias", "model.layers.{l}.self_attn.v_proj.bias", Role::bias, Rewrite::none, true},
      {"blk.{l}.attn_output.bias", "model.layers.{l}.self_attn.o_proj.bias", Role::bias, Rewrite::none, true},
  };
}

std::vector<TensorRow> qk_norm_rows(Rewrite rewrite) {
  return {
      {"blk.{l}.attn_q_norm.weight", "model.layers.{l}.self_attn.q_norm.weight", Role::norm, rewrite},
      {"blk.{l}.attn_k_norm.weight", "model.layers.{l}.self_attn.k_norm.weight", Role::norm, rewrite},
  };
}

std::vector<TensorRow> gated_mlp_rows() {
  return {
      {"blk.{l}.ffn_gate.weight", "model.layers.{l}.mlp.gate_proj.weight", Role::ffn_gate},
      {"blk.{l}.ffn_up.weight", "model.layers.{l}.mlp.up_proj.weight", Role::ffn_up},
      {"blk.{l}.ffn_down.weight", "model.layers.{l}.mlp.down_proj.weight", Role::ffn_down},
      {"blk.{l}.ffn_gate.bias", "model.layers.{l}.mlp.gate_proj.bias", Role::bias, Rewrite::none, true},
      {"blk.{l}.ffn_up.bias", "model.layers.{l}.mlp.up_proj.bias", Role::bias, Rewrite::none, true},
      {"blk.{l}.ffn_down.bias", "model.layers.{l}.mlp.down_proj.bias", Role::bias, Rewrite::none, true},
  };
}

}  // namespace nibble
