#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (from_gguf || h.heads <= 0) return;
  double part = meta.number("rotary_pct").value_or(0.25);
  part = meta.number("rope_parameters.partial_rotary_factor").value_or(part);
  const int64_t head_dim = h.hidden / h.heads;
  h.rope_dim = static_cast<int64_t>(part * static_cast<double>(head_dim));
  if (!meta.boolean("attention_bias").value_or(true)) {
    fail(ErrorKind::unsupported, "config.json: attention_bias false is not supported for gpt_neox");
  }
}

std::vector<HfNumber> hf_numbers(const Hparams& h) {
  return {{"rotary_pct", static_cast<double>(h.rope_dim) / static_cast<double>(h.head_dim)},
          {"rotary_emb_base", h.rope_theta}};
}

}  // namespace

const Arch& gptneox_arch() {
  static const Arch arch{
      .name = "gptneox",
      .gguf = "gptneox",
      .hf_classes = {"GPTNeoXForCausalLM", "GPTNeoXModel"},
      .hf_types = {"gpt_neox"},
      .hf_prefixes = {"gpt_neox."},
      .fields = concat({common_fields(),
                        std::vector<FieldRow>{
                            field<&Hparams::rope_theta>(
                                "rope_theta", {"rope_parameters.rope_theta", "rotary_emb_base", "rope_theta"},
                                "rope.freq_base", 10000),
                            field<&Hparams::rope_dim>("rope_dim", {}, "rope.dimension_count", 0),
                            field<&Hparams::norm_eps>("norm_eps", {"layer_norm_eps"},
                                                      "attention.layer_norm_epsilon", 1e-5),
                            field<&Hparams::parallel_residual>("parallel_residual", {"use_parallel_residual"},
                                                               "use_parallel_residual", 1),
                        }}),
      .tensors =
          {
              {"token_embd.weight", "gpt_neox.embed_in.weight", Role::token_embedding},
              {"output_norm.weight", "gpt_neox.final_layer_norm.weight", Role::norm},
              {"output_norm.bias", "gpt_neox.final_layer_norm.bias", Role::bias},
              {"output.weight", "embed_out.weight", Role::output},
              {"blk.{l}.attn_norm.weight", "gpt_neox.layers.{l}.input_layernorm.weight", Role::norm},
              {"blk.{l}.attn_norm.bias", "gpt_neox.layers.{l}.input_layernorm.bias", Role::bias},
              {"blk.{l}.attn_qkv.weight", "gpt_neox.layers.{l}.attention.query_key_value.weight",
               Role::attn_qkv, Rewrite::neox_qkv},
              {"blk.{l}.attn_qkv.bias", "gpt_neox.layers.{l}.attention.query_key_value.bias", Role::bias,
               Rewrite::neox_qkv},
              {"blk.{l}.attn_output.weight", "gpt_neox.layers.{l}.attention.dense.weight", Role::attn_output},
              {"blk.{l}.attn_output.bias", "gpt_neox.layers.{l}.attention.dense.bias", Role::bias},
              {"blk.{l}.ffn_norm.weight", "gpt_neox.layers.{l}.post_attention_layernorm.weight", Role::norm},
              {"blk.{l}.ffn_norm.bias", "gpt_neox.layers.{l}.post_attention_layernorm.bias", Role::bias},
              {"blk.{l}.ffn_up.weight", "gpt_neox.layers.{l}.mlp.dense_h_to_4h.weight", Role::ffn_up},
              {"blk.{l}.ffn_up.bias", "gpt_neox.layers.{l}.mlp.dense_h_to_4h.bias", Role::bias},
              {"blk.{l}.ffn_down.weight", "gpt_neox.layers.{l}.mlp.dense_4h_to_h.weight", Role::ffn_down},
              {"blk.{l}.ffn_down.bias", "gpt_neox.layers.{l}.mlp.dense_4h_to_h.bias", Role::bias},
          },
      .layer = {NormStep{"attn_norm"}, AttentionStep{.fused_qkv = true}, AddStep{}, NormStep{"ffn_norm"},
                MlpStep{.act = Activation::gelu_erf, .gated = false}, AddStep{}},
      .layer_parallel = {NormStep{"attn_norm"}, AttentionStep{.fused_qkv = true},
                         NormStep{"ffn_norm", Reg::x, Reg::a},
                         MlpStep{.act = Activation::gelu_erf, .gated = false, .from = Reg::a, .to = Reg::a},
                         AddStep{}, AddStep{Reg::a, Reg::x}},
      .norm = NormKind::layer,
      .rope = RopeStyle::half,
      .default_pre = "gpt-2",
      .finish = finish,
      .hf_dropped = {{".attention.bias", "causal mask buffer"},
                     {".attention.masked_bias", "causal mask buffer"}},
      .hf_numbers = hf_numbers,
      .hf_constants = {{"hidden_act", "\"gelu\""}},
  };
  return arch;
}

}  // namespace nibble
