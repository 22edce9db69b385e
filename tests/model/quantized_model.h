#pragma once

#include <string>

#include "model/load.h"
#include "small_model.h"

namespace nibble::test {

/// Every matrix of a source in a format, vectors as they were.
inline MapSource quantized(MapSource source, const std::string& format) {
  for (auto& [name, tensor] : source.tensors) {
    if (tensor.shape.rank() < 2) continue;
    std::vector<float> x(static_cast<size_t>(tensor.shape.elements()));
    decode_range(tensor, 0, tensor.shape.elements(), x.data());
    tensor = encode_nearest(format_of(format), tensor.shape, x);
  }
  return source;
}

/// The matrices of a checkpoint in a format.
class QuantizedCheckpoint final : public WeightSource {
 public:
  QuantizedCheckpoint(const Checkpoint& checkpoint, const std::string& format)
      : weights_(checkpoint), format_(format) {}
  std::optional<QTensor> find(std::string_view name) const override {
    std::optional<QTensor> t = weights_.find(name);
    if (!t || t->shape.rank() < 2) return t;
    std::vector<float> x(static_cast<size_t>(t->shape.elements()));
    decode_range(*t, 0, t->shape.elements(), x.data());
    return encode_nearest(format_of(format_), t->shape, x);
  }

 private:
  CheckpointWeights weights_;
  std::string format_;
};

/// A decoder in the manner of GPT-2: layer norms, biases, learned positions, no gate.
inline Arch gpt_like() {
  Arch arch;
  arch.name = "gpt-like";
  arch.norm = NormKind::layer;
  MlpStep mlp;
  mlp.gated = false;
  mlp.act = Activation::gelu_tanh;
  arch.layer = {NormStep{"attn_norm"}, AttentionStep{}, AddStep{}, NormStep{"ffn_norm"}, mlp, AddStep{}};
  arch.rope = RopeStyle::none;
  return arch;
}

/// An encoder in the manner of BERT: norms behind the sums, the exact GELU, positions and segments.
inline Arch bert_like() {
  Arch arch = gpt_like();
  arch.name = "bert-like";
  AttentionStep attention;
  attention.causal = false;
  attention.from = Reg::x;
  MlpStep mlp;
  mlp.gated = false;
  mlp.act = Activation::gelu_erf;
  mlp.from = Reg::x;
  arch.layer = {attention, AddStep{}, NormStep{"attn_norm", Reg::x, Reg::x},
                mlp,       AddStep{}, NormStep{"ffn_norm", Reg::x, Reg::x}};
  arch.embedding_norm = true;
  arch.final_norm = false;
  arch.encoder = true;
  return arch;
}

/// random_weights() and all the tensors that the three need beside them. Each takes what it knows.
inline MapSource all_weights(const Hparams& h, const Arch& arch) {
  MapSource source = random_weights(h);
  if (arch.norm != NormKind::layer) return source;
  source.random("position_embd.weight", {64, h.hidden}, 0.3);
  source.random("token_types.weight", {2, h.hidden}, 0.3);
  source.random("token_embd_norm.weight", {h.hidden}, 0.1, 1);
  source.random("token_embd_norm.bias", {h.hidden}, 0.1);
  source.random("output_norm.bias", {h.hidden}, 0.1);
  for (int64_t l = 0; l < h.layers; ++l) {
    const std::string p = "blk." + std::to_string(l) + ".";
    source.random(p + "attn_norm.bias", {h.hidden}, 0.1);
    source.random(p + "ffn_norm.bias", {h.hidden}, 0.1);
    source.random(p + "attn_q.bias", {h.heads * h.head_dim}, 0.3);
    source.random(p + "attn_k.bias", {h.kv_heads * h.head_dim}, 0.3);
    source.random(p + "attn_v.bias", {h.kv_heads * h.head_dim}, 0.3);
    source.random(p + "attn_output.bias", {h.hidden}, 0.3);
    source.random(p + "ffn_up.bias", {h.ffn}, 0.3);
    source.random(p + "ffn_down.bias", {h.hidden}, 0.3);
  }
  return source;
}

}  // namespace nibble::test
