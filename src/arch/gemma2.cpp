#include <cmath>

#include "arch/fields.h"
#include "arch/gemma.h"

namespace nibble {
namespace {

constexpr int64_t layers_of_27b = 46;

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  h.window_every = 2;  // every other layer sees a window, beginning with the first
  h.embedding_scale = std::sqrt(static_cast<double>(h.hidden));
  h.query_scale = from_gguf ? gemma_gguf_query_scale(h, layers_of_27b)
                            : 1 / std::sqrt(meta.number("query_pre_attn_scalar").value_or(256));
}

std::vector<HfNumber> hf_numbers(const Hparams& h) {
  return {{"query_pre_attn_scalar", std::round(1 / (h.query_scale * h.query_scale))}};
}

}  // namespace

const Arch& gemma2_arch() {
  static const Arch arch{
      .name = "gemma2",
      .gguf = "gemma2",
      .hf_classes = {"Gemma2ForCausalLM"},
      .hf_types = {"gemma2"},
      .hf_prefixes = {"model."},
      .fields =
          concat({common_fields(), grouped_query_fields(), rms_norm_fields(1e-6), rope_theta_fields(10000),
                  std::vector<FieldRow>{
                      field<&Hparams::window>("window", {"sliding_window"}, "attention.sliding_window", 4096),
                      field<&Hparams::attn_softcap>("attn_softcap", {"attn_logit_softcapping"},
                                                    "attn_logit_softcapping", 50),
                      field<&Hparams::logit_softcap>("logit_softcap", {"final_logit_softcapping"},
                                                     "final_logit_softcapping", 30),
                  }}),
      .tensors = gemma_rows(),
      .layer = gemma_layer(false),
      .rope = RopeStyle::half,
      .finish = finish,
      .gguf_misfit = [](const Hparams& h) { return gemma_gguf_misfit(h, layers_of_27b); },
      .hf_numbers = hf_numbers,
      .hf_constants = {{"hidden_activation", "\"gelu_pytorch_tanh\""},
                       {"hidden_act", "\"gelu_pytorch_tanh\""}},
  };
  return arch;
}

}  // namespace nibble
