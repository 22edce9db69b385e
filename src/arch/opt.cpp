#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool) {
  h.norm_eps = 1e-5;      // not configurable in OPT
  h.position_offset = 2;  // position 0 reads row 2
  if (meta.integer("word_embed_proj_dim").value_or(h.hidden) != h.hidden) {
    fail(ErrorKind::unsupported,
         "config.json: embeddings of another width than the model (word_embed_proj_dim) are "
         "not supported for opt");
  }
  if (!meta.boolean("do_layer_norm_before").value_or(true) || !meta.boolean("enable_bias").value_or(true) ||
      !meta.boolean("layer_norm_elementwise_affine").value_or(true) ||
      meta.boolean("_remove_final_layer_norm").value_or(false)) {
    fail(ErrorKind::unsupported,
         "config.json: only OPT models with a norm before each block, biases and a final "
         "norm are supported (all published ones but opt-350m)");
  }
}

}  // namespace

const Arch& opt_arch() {
  static const Arch arch{
      .name = "opt",
      .gguf = "",  // no reader of GGUF knows OPT
      .hf_classes = {"OPTForCausalLM", "OPTModel"},
      .hf_types = {"opt"},
      .hf_prefixes = {"model.decoder.", "decoder."},
      .fields =
          {
              field<&Hparams::vocab>("vocab", {"vocab_size"}, "vocab_size"),
              field<&Hparams::context>("context", {"max_position_embeddings"}, "context_length"),
              field<&Hparams::hidden>("hidden", {"hidden_size"}, "embedding_length"),
              field<&Hparams::layers>("layers", {"num_hidden_layers"}, "block_count"),
              field<&Hparams::ffn>("ffn", {"ffn_dim"}, "feed_forward_length"),
              field<&Hparams::heads>("heads", {"num_attention_heads"}, "attention.head_count"),
          },
      .tensors =
          {
              {"token_embd.weight", "model.decoder.embed_tokens.weight", Role::token_embedding},
              {"position_embd.weight", "model.decoder.embed_positions.weight", Role::position_embedding},
              {"output_norm.weight", "model.decoder.final_layer_norm.weight", Role::norm},
              {"output_norm.bias", "model.decoder.final_layer_norm.bias", Role::bias},
              {"output.weight", "lm_head.weight", Role::output, Rewrite::none, true},
              {"blk.{l}.attn_norm.weight", "model.decoder.layers.{l}.self_attn_layer_norm.weight",
               Role::norm},
              {"blk.{l}.attn_norm.bias", "model.decoder.layers.{l}.self_attn_layer_norm.bias", Role::bias},
              {"blk.{l}.attn_q.weight", "model.decoder.layers.{l}.self_attn.q_proj.weight", Role::attn_q},
              {"blk.{l}.attn_q.bias", "model.decoder.layers.{l}.self_attn.q_proj.bias", Role::bias},
              {"blk.{l}.attn_k.weight", "model.decoder.layers.{l}.self_attn.k_proj.weight", Role::attn_k},
              {"blk.{l}.attn_k.bias", "model.decoder.layers.{l}.self_attn.k_proj.bias", Role::bias},
              {"blk.{l}.attn_v.weight", "model.decoder.layers.{l}.self_attn.v_proj.weight", Role::attn_v},
              {"blk.{l}.attn_v.bias", "model.decoder.layers.{l}.self_attn.v_proj.bias", Role::bias},
              {"blk.{l}.attn_output.weight", "model.decoder.layers.{l}.self_attn.out_proj.weight",
               Role::attn_output},
              {"blk.{l}.attn_output.bias", "model.decoder.layers.{l}.self_attn.out_proj.bias", Role::bias},
              {"blk.{l}.ffn_norm.weight", "model.decoder.layers.{l}.final_layer_norm.weight", Role::norm},
              {"blk.{l}.ffn_norm.bias", "model.decoder.layers.{l}.final_layer_norm.bias", Role::bias},
              {"blk.{l}.ffn_up.weight", "model.decoder.layers.{l}.fc1.weight", Role::ffn_up},
              {"blk.{l}.ffn_up.bias", "model.decoder.layers.{l}.fc1.bias", Role::bias},
              {"blk.{l}.ffn_down.weight", "model.decoder.layers.{l}.fc2.weight", Role::ffn_down},
              {"blk.{l}.ffn_down.bias", "model.decoder.layers.{l}.fc2.bias", Role::bias},
          },
      .layer = {NormStep{"attn_norm"}, AttentionStep{}, AddStep{}, NormStep{"ffn_norm"},
                MlpStep{.act = Activation::relu, .gated = false}, AddStep{}},
      .norm = NormKind::layer,
      .default_pre = "gpt-2",
      .finish = finish,
      .hf_constants = {{"activation_function", "\"relu\""}, {"do_layer_norm_before", "true"}},
  };
  return arch;
}

}  // namespace nibble
