#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (h.ffn == 0) h.ffn = 4 * h.hidden;
  if (!from_gguf && (meta.boolean("scale_attn_by_inverse_layer_idx").value_or(false) ||
                     !meta.boolean("scale_attn_weights").value_or(true))) {
    fail(ErrorKind::unsupported,
         "config.json: attention scaled otherwise than by 1 / sqrt(head size) is not supported");
  }
}

std::vector<HfNumber> hf_numbers(const Hparams& h) { return {{"n_ctx", static_cast<double>(h.context)}}; }

}  // namespace

const Arch& gpt2_arch() {
  // Conv1D stores every projection as [in, out].
  constexpr Rewrite conv1d = Rewrite::transpose;
  static const Arch arch{
      .name = "gpt2",
      .gguf = "gpt2",
      .hf_classes = {"GPT2LMHeadModel", "GPT2Model"},
      .hf_types = {"gpt2"},
      .hf_prefixes = {"transformer."},
      .fields =
          {
              field<&Hparams::vocab>("vocab", {"vocab_size"}, "vocab_size", 0),
              field<&Hparams::context>("context", {"n_positions", "n_ctx"}, "context_length"),
              field<&Hparams::hidden>("hidden", {"n_embd"}, "embedding_length"),
              field<&Hparams::layers>("layers", {"n_layer"}, "block_count"),
              field<&Hparams::ffn>("ffn", {"n_inner"}, "feed_forward_length", 0),
              field<&Hparams::heads>("heads", {"n_head"}, "attention.head_count"),
              field<&Hparams::norm_eps>("norm_eps", {"layer_norm_epsilon"}, "attention.layer_norm_epsilon",
                                        1e-5),
          },
      .tensors =
          {
              {"token_embd.weight", "transformer.wte.weight", Role::token_embedding},
              {"position_embd.weight", "transformer.wpe.weight", Role::position_embedding},
              {"output_norm.weight", "transformer.ln_f.weight", Role::norm},
              {"output_norm.bias", "transformer.ln_f.bias", Role::bias},
              {"output.weight", "lm_head.weight", Role::output, Rewrite::none, true},
              {"blk.{l}.attn_norm.weight", "transformer.h.{l}.ln_1.weight", Role::norm},
              {"blk.{l}.attn_norm.bias", "transformer.h.{l}.ln_1.bias", Role::bias},
              {"blk.{l}.attn_qkv.weight", "transformer.h.{l}.attn.c_attn.weight", Role::attn_qkv, conv1d},
              {"blk.{l}.attn_qkv.bias", "transformer.h.{l}.attn.c_attn.bias", Role::bias},
              {"blk.{l}.attn_output.weight", "transformer.h.{l}.attn.c_proj.weight", Role::attn_output,
               conv1d},
              {"blk.{l}.attn_output.bias", "transformer.h.{l}.attn.c_proj.bias", Role::bias},
              {"blk.{l}.ffn_norm.weight", "transformer.h.{l}.ln_2.weight", Role::norm},
              {"blk.{l}.ffn_norm.bias", "transformer.h.{l}.ln_2.bias", Role::bias},
              {"blk.{l}.ffn_up.weight", "transformer.h.{l}.mlp.c_fc.weight", Role::ffn_up, conv1d},
              {"blk.{l}.ffn_up.bias", "transformer.h.{l}.mlp.c_fc.bias", Role::bias},
              {"blk.{l}.ffn_down.weight", "transformer.h.{l}.mlp.c_proj.weight", Role::ffn_down, conv1d},
              {"blk.{l}.ffn_down.bias", "transformer.h.{l}.mlp.c_proj.bias", Role::bias},
          },
      .layer = {NormStep{"attn_norm"}, AttentionStep{.fused_qkv = true}, AddStep{}, NormStep{"ffn_norm"},
                MlpStep{.act = Activation::gelu_tanh, .gated = false}, AddStep{}},
      .norm = NormKind::layer,
      .default_pre = "gpt-2",
      .finish = finish,
      .hf_dropped = {{".attn.bias", "causal mask buffer"}, {".attn.masked_bias", "causal mask buffer"}},
      .hf_numbers = hf_numbers,
      .hf_constants = {{"activation_function", "\"gelu_new\""}},
  };
  return arch;
}

}  // namespace nibble
