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
  std::string_view hf;    ///< as the usual class writes it ("model.norm.weight"); empty: none there
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

/// What values a hyper-parameter takes, and so its type in a GGUF file: u32, f32 or bool.
enum class FieldKind : uint8_t { count, real, flag };

/// One hyper-parameter and where it stands. The first key found counts.
struct FieldRow {
  std::string_view name;             ///< for messages: "hidden"
  std::vector<std::string_view> hf;  ///< config.json, dots for nesting
  std::string_view gguf;             ///< below the architecture's prefix: "embedding_length"; empty: none
  FieldKind kind = FieldKind::count;
  void (*set)(Hparams&, double) = nullptr;
  double (*get)(const Hparams&) = nullptr;
  std::optional<double> fallback{};  ///< absent here and in the file: an error naming the key
};

/// Tensors of a Hugging Face file that the model does not need: names that contain `part`.
struct DroppedRow {
  std::string_view part, reason;
};

/// A field of config.json that is the same for every model of the architecture; its value as JSON text.
struct HfConstant {
  std::string_view key, json;
};
struct HfNumber {
  std::string_view key;
  double value = 0;
};

struct Arch {
  std::string_view name;                      ///< nibble's: "llama"
  std::string_view gguf;                      ///< general.architecture; empty: GGUF has no convention for it
  std::vector<std::string_view> hf_classes;   ///< config.json "architectures"
  std::vector<std::string_view> hf_types;     ///< config.json "model_type"
  std::vector<std::string_view> hf_prefixes;  ///< that files may lack or have: "model.", longest first
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
  /// Which of hf_classes and hf_types a model of this shape is written as; null: the first.
  size_t (*hf_variant)(const Hparams&) = nullptr;
  std::vector<DroppedRow> hf_dropped{};
  /// Why readers of GGUF would compute another function than the model's; empty: they do not. Null: never.
  std::string (*gguf_misfit)(const Hparams&) = nullptr;
  /// Numbers of config.json that no field holds as they are there; null: none.
  std::vector<HfNumber> (*hf_numbers)(const Hparams&) = nullptr;
  std::vector<HfConstant> hf_constants{};  ///< further fields of a config.json made from a GGUF file
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

/// Whether a model of these hyper-parameters can have the tensor at all: experts only in mixtures, the dense
/// block only outside them, segment embeddings only where there are segments.
bool tensor_applies(const Arch& arch, const TensorRow& row, const Hparams& h);
/// The canonical shape. Unknown sizes (classifier heads) are 0.
Shape tensor_shape(const Arch& arch, const TensorRow& row, const Hparams& h);
/// Stretch of each rotary frequency of Llama 3 (rope_dim / 2 divisors of the angle), as rope_freqs.weight
/// holds them.
std::vector<float> llama3_rope_factors(const Hparams& h);

}  // namespace nibble
