#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (from_gguf || !meta.boolean("use_sliding_window").value_or(false)) return;
  const int64_t full = meta.integer("max_window_layers").value_or(0);
  if (full >= h.layers) return;
  if (full != 0) {
    fail(ErrorKind::unsupported,
         "config.json: a sliding window from layer {} on (max_window_layers) is not supported", full);
  }
  h.window = meta.integer("sliding_window").value_or(0);
}

std::string gguf_misfit(const Hparams& h) {
  return h.window > 0 ? "it attends through a sliding window, which GGUF's qwen2 does not have" : "";
}

}  // namespace

const Arch& qwen2_arch() {
  static const Arch arch{
      .name = "qwen2",
      .gguf = "qwen2",
      .hf_classes = {"Qwen2ForCausalLM"},
      .hf_types = {"qwen2"},
      .hf_prefixes = {"model."},
      .fields =
          concat({common_fields(), grouped_query_fields(), rms_norm_fields(1e-6), rope_theta_fields(10000)}),
      .tensors = concat({llama_outer_rows(), llama_norm_rows(), attention_rows(Rewrite::none, Rewrite::none),
                         gated_mlp_rows()}),
      .layer = {NormStep{"attn_norm"}, AttentionStep{}, AddStep{}, NormStep{"ffn_norm"}, MlpStep{},
                AddStep{}},
      .rope = RopeStyle::half,
      .default_pre = "qwen2",
      .finish = finish,
      .gguf_misfit = gguf_misfit,
      .hf_constants = {{"hidden_act", "\"silu\""}, {"use_sliding_window", "false"}},
  };
  return arch;
}

}  // namespace nibble
