#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams&, const Meta& meta, bool from_gguf) {
  if (!from_gguf && meta.boolean("use_sliding_window").value_or(false)) {
    fail(ErrorKind::unsupported, "config.json: use_sliding_window is not supported for qwen3");
  }
}

}  // namespace

const Arch& qwen3_arch() {
  static const Arch arch{
      .name = "qwen3",
      .gguf = "qwen3",
      .hf_classes = {"Qwen3ForCausalLM"},
      .hf_types = {"qwen3"},
      .hf_prefixes = {"model."},
      .fields =
          concat({common_fields(), grouped_query_fields(), rms_norm_fields(1e-6), rope_theta_fields(10000)}),
      .tensors = concat({llama_outer_rows(), llama_norm_rows(), attention_rows(Rewrite::none, Rewrite::none),
                         qk_norm_rows(Rewrite::none), gated_mlp_rows()}),
      .layer = {NormStep{"attn_norm"}, AttentionStep{.qk_norm = true}, AddStep{}, NormStep{"ffn_norm"},
                MlpStep{}, AddStep{}},
      .rope = RopeStyle::half,
      .default_pre = "qwen2",
      .finish = finish,
      .hf_constants = {{"hidden_act", "\"silu\""}},
  };
  return arch;
}

}  // namespace nibble
