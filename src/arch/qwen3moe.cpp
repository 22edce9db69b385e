#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (h.experts == 0) fail(ErrorKind::bad_input, "qwen3moe: the number of experts is zero");
  if (h.expert_ffn == 0 && h.experts_used > 0) h.expert_ffn = h.ffn / h.experts_used;
  if (from_gguf) return;
  h.experts_renormalize = meta.boolean("norm_topk_prob").value_or(false);
  const auto* dense = meta.find("mlp_only_layers");
  const auto* list = dense == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(dense);
  if ((list != nullptr && !list->empty()) || meta.integer("decoder_sparse_step").value_or(1) != 1) {
    fail(ErrorKind::unsupported,
         "config.json: dense layers between expert layers are not supported for qwen3moe");
  }
}

std::string gguf_misfit(const Hparams& h) {
  return h.experts_renormalize ? "" : "its expert weights do not sum to one (norm_topk_prob is false)";
}

}  // namespace

const Arch& qwen3moe_arch() {
  static const Arch arch{
      .name = "qwen3moe",
      .gguf = "qwen3moe",
      .hf_classes = {"Qwen3MoeForCausalLM"},
      .hf_types = {"qwen3_moe"},
      .hf_prefixes = {"model."},
      .fields = concat(
          {common_fields(), grouped_query_fields(), rms_norm_fields(1e-6), rope_theta_fields(10000),
           std::vector<FieldRow>{
               field<&Hparams::experts>("experts", {"num_experts", "num_local_experts"}, "expert_count"),
               field<&Hparams::experts_used>("experts_used", {"num_experts_per_tok"}, "expert_used_count"),
               field<&Hparams::expert_ffn>("expert_ffn", {"moe_intermediate_size"},
                                           "expert_feed_forward_length", 0),
               field<&Hparams::experts_renormalize>("experts_renormalize", {"norm_topk_prob"}, "", 1),
           }}),
      .tensors =
          concat({llama_outer_rows(), llama_norm_rows(), attention_rows(Rewrite::none, Rewrite::none),
                  qk_norm_rows(Rewrite::none),
                  std::vector<TensorRow>{
                      {"blk.{l}.ffn_gate_inp.weight", "model.layers.{l}.mlp.gate.weight", Role::router},
                      {"blk.{l}.ffn_gate_exps.weight", "model.layers.{l}.mlp.experts.{e}.gate_proj.weight",
                       Role::expert_gate, Rewrite::stack_experts},
                      {"blk.{l}.ffn_down_exps.weight", "model.layers.{l}.mlp.experts.{e}.down_proj.weight",
                       Role::expert_down, Rewrite::stack_experts},
                      {"blk.{l}.ffn_up_exps.weight", "model.layers.{l}.mlp.experts.{e}.up_proj.weight",
                       Role::expert_up, Rewrite::stack_experts},
                  }}),
      .layer = {NormStep{"attn_norm"}, AttentionStep{.qk_norm = true}, AddStep{}, NormStep{"ffn_norm"},
                MoeStep{}, AddStep{}},
      .rope = RopeStyle::half,
      .default_pre = "qwen2",
      .finish = finish,
      .gguf_misfit = gguf_misfit,
      .hf_constants = {{"hidden_act", "\"silu\""}, {"decoder_sparse_step", "1"}, {"mlp_only_layers", "[]"}},
  };
  return arch;
}

}  // namespace nibble
