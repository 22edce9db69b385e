#pragma once

#include <type_traits>

#include "arch/arch.h"

// The rows that many architectures share, so that a table holds only what is its own.

namespace nibble {

/// A row for one member of Hparams; its kind follows from the member's type.
template <auto Member>
FieldRow field(std::string_view name, std::vector<std::string_view> hf, std::string_view gguf,
               std::optional<double> fallback = std::nullopt) {
  using T = std::remove_reference_t<decltype(std::declval<Hparams&>().*Member)>;
  constexpr FieldKind kind = std::is_same_v<T, bool>     ? FieldKind::flag
                             : std::is_same_v<T, double> ? FieldKind::real
                                                         : FieldKind::count;
  return {name,
          std::move(hf),
          gguf,
          kind,
          [](Hparams& h, double v) { h.*Member = static_cast<T>(v); },
          [](const Hparams& h) { return static_cast<double>(h.*Member); },
          fallback};
}

/// vocab, context, hidden, layers, ffn, heads under LLaMA's names, which most later models kept.
std::vector<FieldRow> common_fields();
/// kv_heads and head_dim; both may be absent.
std::vector<FieldRow> grouped_query_fields();
std::vector<FieldRow> rms_norm_fields(double fallback);
std::vector<FieldRow> rope_theta_fields(double fallback);

/// Embedding, output norm and output matrix of a model.* / lm_head checkpoint.
std::vector<TensorRow> llama_outer_rows();
/// Two norms before the sub-blocks.
std::vector<TensorRow> llama_norm_rows();
/// Separate q, k, v and output projections; `rewrite_q` and `rewrite_k` as the rope style asks.
std::vector<TensorRow> attention_rows(Rewrite rewrite_q, Rewrite rewrite_k);
std::vector<TensorRow> qk_norm_rows(Rewrite rewrite);
std::vector<TensorRow> gated_mlp_rows();

template <class T>
std::vector<T> concat(std::initializer_list<std::vector<T>> parts) {
  std::vector<T> all;
  for (const std::vector<T>& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}

}  // namespace nibble
