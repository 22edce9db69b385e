#include <cmath>

#include "arch/fields.h"
#include "arch/gemma.h"
#include "base/error.h"

namespace nibble {
namespace {

constexpr int64_t layers_of_27b = 62;

// New files list the kind of every layer; only the regular pattern can be expressed.
int64_t period_of(const std::vector<std::string>& kinds) {
  size_t period = 0;
  while (period < kinds.size() && kinds[period] == "sliding_attention") ++period;
  ++period;
  for (size_t i = 0; i < kinds.size(); ++i) {
    const bool full = (i + 1) % period == 0;
    if (kinds[i] != (full ? "full_attention" : "sliding_attention")) {
      fail(ErrorKind::unsupported, "config.json: layer_types has no regular pattern (layer {} is {})", i,
           kinds[i]);
    }
  }
  return static_cast<int64_t>(period);
}

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  h.embedding_scale = std::sqrt(static_cast<double>(h.hidden));
  if (from_gguf) {
    h.query_scale = gemma_gguf_query_scale(h, layers_of_27b);
    h.window_every = meta.integer("gemma3.attention.sliding_window_pattern").value_or(6);
    return;
  }
  const auto key = [&](const std::string& name) { return meta.has(name) ? name : "text_config." + name; };
  h.query_scale = 1 / std::sqrt(meta.number(key("query_pre_attn_scalar")).value_or(256));
  h.window_every = meta.integer(key("sliding_window_pattern")).value_or(6);
  const MetaValue* kinds = meta.find(key("layer_types"));
  if (kinds != nullptr && std::holds_alternative<std::vector<std::string>>(*kinds)) {
    h.window_every = period_of(std::get<std::vector<std::string>>(*kinds));
  }
}

std::string gguf_misfit(const Hparams& h) { return gemma_gguf_misfit(h, layers_of_27b); }

std::vector<HfNumber> hf_numbers(const Hparams& h) {
  return {{"query_pre_attn_scalar", std::round(1 / (h.query_scale * h.query_scale))},
          {"sliding_window_pattern", static_cast<double>(h.window_every)}};
}

}  // namespace

const Arch& gemma3_arch() {
  // The fallbacks are those of the Hugging Face class: published multi-modal files leave these out.
  static const Arch arch{
      .name = "gemma3",
      .gguf = "gemma3",
      .hf_classes = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
      .hf_types = {"gemma3_text", "gemma3"},
      .hf_prefixes = {"model.language_model.", "language_model.model.", "language_model.", "model."},
      .fields =
          {
              field<&Hparams::vocab>("vocab", {"vocab_size"}, "vocab_size", 0),
              field<&Hparams::context>("context", {"max_position_embeddings"}, "context_length", 131072),
              field<&Hparams::hidden>("hidden", {"hidden_size"}, "embedding_length"),
              field<&Hparams::layers>("layers", {"num_hidden_layers"}, "block_count"),
              field<&Hparams::ffn>("ffn", {"intermediate_size"}, "feed_forward_length"),
              field<&Hparams::heads>("heads", {"num_attention_heads"}, "attention.head_count", 8),
              field<&Hparams::kv_heads>("kv_heads", {"num_key_value_heads"}, "attention.head_count_kv", 4),
              field<&Hparams::head_dim>("head_dim", {"head_dim"}, "attention.key_length", 256),
              grouped_query_fields().back(),
              rms_norm_fields(1e-6).front(),
              rope_theta_fields(1e6).front(),
              field<&Hparams::rope_theta_local>(
                  "rope_theta_local",
                  {"rope_parameters.sliding_attention.rope_theta", "rope_local_base_freq"},
                  "rope.freq_base_swa", 10000),
              field<&Hparams::window>("window", {"sliding_window"}, "attention.sliding_window", 4096),
              field<&Hparams::window_every>("window_every", {}, "attention.sliding_window_pattern", 6),
              field<&Hparams::logit_softcap>("logit_softcap", {"final_logit_softcapping"},
                                             "final_logit_softcapping", 0),
          },
      .tensors = concat({gemma_rows(), qk_norm_rows(Rewrite::plus_one)}),
      .layer = gemma_layer(true),
      .rope = RopeStyle::half,
      .finish = finish,
      .hf_dropped = {{"vision_tower.", "vision encoder: only the text model is read"},
                     {"multi_modal_projector.", "vision projector: only the text model is read"}},
      .gguf_misfit = gguf_misfit,
      .hf_numbers = hf_numbers,
      .hf_constants = {{"hidden_activation", "\"gelu_pytorch_tanh\""}},
  };
  return arch;
}

}  // namespace nibble
