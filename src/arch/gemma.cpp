#include "arch/gemma.h"

#include <cmath>

#include "arch/fields.h"

namespace nibble {

std::vector<TensorRow> gemma_rows() {
  std::vector<TensorRow> rows = concat(
      {llama_outer_rows(), attention_rows(Rewrite::none, Rewrite::none), gated_mlp_rows(),
       std::vector<TensorRow>{
           {"blk.{l}.attn_norm.weight", "model.layers.{l}.input_layernorm.weight", Role::norm},
           {"blk.{l}.post_attention_norm.weight", "model.layers.{l}.post_attention_layernorm.weight",
            Role::norm},
           {"blk.{l}.ffn_norm.weight", "model.layers.{l}.pre_feedforward_layernorm.weight", Role::norm},
           {"blk.{l}.post_ffw_norm.weight", "model.layers.{l}.post_feedforward_layernorm.weight", Role::norm},
       }});
  for (TensorRow& row : rows) {
    if (row.role == Role::norm) row.rewrite = Rewrite::plus_one;
  }
  return rows;
}

std::vector<Step> gemma_layer(bool qk_norm) {
  return {NormStep{"attn_norm"},
          AttentionStep{.qk_norm = qk_norm},
          NormStep{"post_attention_norm", Reg::h, Reg::h},
          AddStep{},
          NormStep{"ffn_norm"},
          MlpStep{.act = Activation::gelu_tanh},
          NormStep{"post_ffw_norm", Reg::h, Reg::h},
          AddStep{}};
}

double gemma_gguf_query_scale(const Hparams& h, int64_t layers_of_27b) {
  const double width = h.layers == layers_of_27b && h.heads > 0
                           ? static_cast<double>(h.hidden) / static_cast<double>(h.heads)
                           : static_cast<double>(h.head_dim);
  return width > 0 ? 1 / std::sqrt(width) : 0;
}

std::string gemma_gguf_misfit(const Hparams& h, int64_t layers_of_27b) {
  const double theirs = gemma_gguf_query_scale(h, layers_of_27b);
  if (h.query_scale == 0 || std::fabs(h.query_scale - theirs) < 1e-6 * theirs) return {};
  return "its query_pre_attn_scalar is not the one that readers of GGUF assume";
}

}  // namespace nibble
