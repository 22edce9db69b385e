#include <algorithm>

#include "arch/arch.h"
#include "base/error.h"

namespace nibble {
namespace {

std::string_view stem_of(std::string_view name) { return name.substr(0, name.rfind('.')); }

bool is_expert(Role role) {
  return role == Role::router || role == Role::expert_gate || role == Role::expert_up ||
         role == Role::expert_down;
}

bool is_dense_mlp(std::string_view name) {
  return name.starts_with("blk.{l}.ffn_gate.") || name.starts_with("blk.{l}.ffn_up.") ||
         name.starts_with("blk.{l}.ffn_down.");
}

// A bias has the length of what its weight makes; a norm's bias that of the norm.
Shape bias_shape(const Arch& arch, const TensorRow& row, const Hparams& h) {
  for (const TensorRow& other : arch.tensors) {
    if (other.role == Role::bias || stem_of(other.name) != stem_of(row.name)) continue;
    const Shape weight = tensor_shape(arch, other, h);
    return Shape{weight[0]};
  }
  fail(ErrorKind::internal, "{}: {} has no weight in the table", arch.name, row.name);
}

}  // namespace

bool tensor_applies(const Arch& arch, const TensorRow& row, const Hparams& h) {
  if (is_expert(row.role)) return h.experts > 0;
  if (row.role == Role::type_embedding) return h.token_types > 0;
  if (!is_dense_mlp(row.name) || h.experts == 0) return true;
  return std::none_of(arch.tensors.begin(), arch.tensors.end(),
                      [](const TensorRow& r) { return is_expert(r.role); });
}

Shape tensor_shape(const Arch& arch, const TensorRow& row, const Hparams& h) {
  const int64_t q = h.heads * h.head_dim;
  const int64_t kv = h.kv_heads * h.head_dim;
  switch (row.role) {
    case Role::token_embedding:
    case Role::output:
      return {h.vocab, h.hidden};
    case Role::position_embedding:
      return {h.context + h.position_offset, h.hidden};
    case Role::type_embedding:
      return {h.token_types, h.hidden};
    case Role::norm:
      if (row.name.ends_with("attn_q_norm.weight") || row.name.ends_with("attn_k_norm.weight"))
        return {h.head_dim};
      return {h.hidden};
    case Role::bias:
      return bias_shape(arch, row, h);
    case Role::rope_factors:
      return {h.rope_dim / 2};
    case Role::attn_q:
      return {q, h.hidden};
    case Role::attn_k:
    case Role::attn_v:
      return {kv, h.hidden};
    case Role::attn_qkv:
      return {q + 2 * kv, h.hidden};
    case Role::attn_output:
      return {h.hidden, q};
    case Role::ffn_gate:
    case Role::ffn_up:
      return {h.ffn, h.hidden};
    case Role::ffn_gate_up:
      return {2 * h.ffn, h.hidden};
    case Role::ffn_down:
      return {h.hidden, h.ffn};
    case Role::router:
      return {h.experts, h.hidden};
    case Role::expert_gate:
    case Role::expert_up:
      return {h.experts, h.expert_ffn, h.hidden};
    case Role::expert_down:
      return {h.experts, h.hidden, h.expert_ffn};
    case Role::classifier:
      return {0, h.hidden};
  }
  fail(ErrorKind::internal, "{}: {} has an unknown role", arch.name, row.name);
}

}  // namespace nibble
