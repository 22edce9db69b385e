#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/hparams.h"
#include "base/meta.h"
#include "tensor/shape.h"

// An architecture is a table: how its hyper-parameters and tensors are called in each ecosystem, and which
// operations a token passes through. One file per architecture under src/arch, one line in list.inc. Data
// only: nothing here runs.

namespace nibble {

enum class NormKind : uint8_t { rms, layer };
enum class Activation : uint8_t { silu, gelu_tanh, gelu_erf, relu };
/// Which entries of a head rotate together: (2i, 2i+1) or (i, i + rope_dim/2).
enum class RopeStyle : uint8_t { none, interleaved, half };

/// What a tensor is for: decides the per-file mixes, the size listing and which tensors a recipe leaves
/// alone.
enum class Role : uint8_t {
  token_embedding,
  position_embedding,
  type_embedding,
  output,
  norm,
  bias,
  rope_factors,
  attn_q,
  attn_k,
  attn_v,
  attn_qkv,
  attn_output,
  ffn_gate,
  ffn_up,
  ffn_gate_up,
  ffn_down,
  router,
  expert_gate,
  expert_up,
  expert_down,
  classifier
};

/// How the Hugging Face tensor becomes the canonical (GGUF) one. All are lossless and undone on the way back.
enum class Rewrite : uint8_t {
  none,
  rope_rows_q,    ///< rows of each head from half-split to interleaved order (heads of the query)
  rope_rows_k,    ///< the same with the key's head count
  transpose,      ///< GPT-2 Conv1D stores [in, out]
  plus_one,       ///< Gemma norms store w - 1
  neox_qkv,       ///< rows [head][q,k,v][d] become [q,k,v][head][d]
  stack_experts,  ///< one Hugging Face tensor per expert ({e} in its name) becomes a slice of [experts, out,
                  ///< in]
};

/// One tensor of an architecture. Names hold {l} for the layer and {e} for the expert. The canonical name is
/// GGUF's, which is already the same for every architecture.
struct TensorRow {
  std::string_view name;  ///< canonical, with its .weight or .bias
  std::string_view hf;    ///< after the architecture's optional prefix has been taken off; empty: none there
  Role role = Role::norm;
  Rewrite rewrite = Rewrite::none;
  bool optional = false;
};

/// A named value of the running forward pass: the residual stream or a temporary.
enum class Reg : uint8_t { x, h, a };

struct NormStep {
  std::string_view weight;  ///< canonical stem within the layer: "attn_norm"
  Reg from = Reg::x, to = Reg::h;
};
struct AttentionStep {
  bool fused_qkv = false;
  bool qk_norm = false;  ///< RMS norm of each query and key head before the rotation
  bool causal = true;
  Reg from = Reg::h, to = Reg::h;
};
struct MlpStep {
  Activation act = Activation::silu;
  bool gated = true;
  bool fused_gate_up = false;  ///< gate rows, then up rows, in ffn_up
  Reg from = Reg::h, to = Reg::h;
};
/// Router, top-k choice, gated experts; or a dense MlpStep when the model has no experts.
struct MoeStep {
  Activation act = Activation::silu;
  Reg from = Reg::h, to = Reg::h;
};
struct AddStep {
  Reg from = Reg::h, to = Reg::x;  ///< to += from
};

/// One step of a layer: exactly the set member of the variant says which.
struct Step {
  enum class Kind : uint8_t { norm, attention, mlp, moe, add } kind;
  NormStep norm{};
  AttentionStep attention{};
  MlpStep mlp{};
  MoeStep moe{};
  AddStep add{};

  Step(NormStep s) : kind(Kind::norm), norm(s) {}                 // NOLINT(google-explicit-constructor)
  Step(AttentionStep s) : kind(Kind::attention), attention(s) {}  // NOLINT(google-explicit-constructor)
  Step(MlpStep s) : kind(Kind::mlp), mlp(s) {}                    // NOLINT(google-explicit-constructor)
  Step(MoeStep s) : kind(Kind::moe), moe(s) {}                    // NOLINT(google-explicit-constructor)
  Step(AddStep s) : kind(Kind::add), add(s) {}                    // NOLINT(google-explicit-constructor)
};

/// One hyper-parameter and where it stands. The first key found counts.
struct FieldRow {
  std::string_view name;             ///< for messages: "hidden"
  std::vector<std::string_view> hf;  ///< config.json, dots for nesting
  std::string_view gguf;             ///< below the architecture's prefix: "embedding_length"
  void (*set)(Hparams&, double) = nullptr;
  double (*get)(const Hparams&) = nullptr;
  std::optional<double> fallback{};  ///< absent here and in the file: an error naming the key
};

struct Arch {
  std::string_view name;                      ///< nibble's: "llama"
  std::string_view gguf;                      ///< general.architecture; empty: GGUF has no convention for it
  std::vector<std::string_view> hf_classes;   ///< config.json "architectures"
  std::vector<std::string_view> hf_types;     ///< config.json "model_type"
  std::vector<std::string_view> hf_prefixes;  ///< optional prefixes of tensor names ("model.", "gpt_neox.")
  std::vector<FieldRow> fields;
  std::vector<TensorRow> tensors;
  std::vector<Step> layer;             ///< the steps of every layer, in order
  std::vector<Step> layer_parallel{};  ///< used instead when Hparams::parallel_residual
  NormKind norm = NormKind::rms;
  RopeStyle rope = RopeStyle::none;  ///< of the canonical tensors
  bool embedding_norm = false;       ///< BERT: token_embd_norm after the sum of embeddings
  bool final_norm = true;            ///< output_norm before the output matrix
  bool encoder = false;              ///< no output matrix: hidden states are the result
  std::string_view default_pre{};    ///< tokenizer.ggml.pre for its tokenizer.json, where one is usual
  /// What one row cannot say (values that depend on each other); null for most.
  void (*finish)(Hparams&, const Meta&, bool from_gguf) = nullptr;
};

/// Every architecture, in the order of list.inc.
std::span<const Arch* const> archs();
/// By general.architecture; null if unknown.
const Arch* arch_of_gguf(std::string_view name);
/// By config.json (class first, then model_type); null if unknown.
const Arch* arch_of_hf(const Meta& config);

/// Reads the hyper-parameters of config.json or GGUF metadata. Throws Error{bad_input} naming an absent or
/// absurd key.
Hparams read_hparams(const Arch& arch, const Meta& meta, bool from_gguf);

}  // namespace nibble
