#pragma once

#include <map>
#include <string>

#include "base/rng.h"
#include "formats/format.h"
#include "model/program.h"

namespace nibble::test {

/// Weights in memory, by canonical name.
struct MapSource final : WeightSource {
  std::map<std::string, QTensor, std::less<>> tensors;

  std::optional<QTensor> find(std::string_view name) const override {
    const auto it = tensors.find(name);
    if (it == tensors.end()) return std::nullopt;
    return it->second;
  }
  void set(const std::string& name, const Shape& shape, std::span<const float> values,
           const std::string& format = "f32") {
    tensors[name] = encode_nearest(format_of(format), shape, values);
  }
  /// Seeded normal values.
  void random(const std::string& name, const Shape& shape, double scale, double mean = 0) {
    uint64_t seed = 5;
    for (const char c : name) seed = seed * 131 + static_cast<unsigned char>(c);
    Rng rng(seed);
    std::vector<float> x(static_cast<size_t>(shape.elements()));
    for (float& v : x) v = static_cast<float>(mean + scale * rng.normal());
    set(name, shape, x);
  }
};

/// A decoder in the manner of LLaMA.
inline Arch llama_like() {
  Arch arch;
  arch.name = "llama-like";
  arch.layer = {NormStep{"attn_norm"}, AttentionStep{}, AddStep{},
                NormStep{"ffn_norm"},  MoeStep{},       AddStep{}};
  arch.rope = RopeStyle::interleaved;
  return arch;
}

inline Hparams small_hparams() {
  Hparams h;
  h.vocab = 50;
  h.hidden = 32;
  h.layers = 2;
  h.context = 256;
  h.heads = 4;
  h.kv_heads = 2;
  h.head_dim = h.rope_dim = 8;
  h.ffn = 48;
  h.tied = true;
  return h;
}

/// Random weights for every tensor that llama_like() wants.
inline MapSource random_weights(const Hparams& h) {
  MapSource source;
  source.random("token_embd.weight", {h.vocab, h.hidden}, 1);
  source.random("output_norm.weight", {h.hidden}, 0.1, 1);
  for (int64_t l = 0; l < h.layers; ++l) {
    const std::string p = "blk." + std::to_string(l) + ".";
    source.random(p + "attn_norm.weight", {h.hidden}, 0.1, 1);
    source.random(p + "ffn_norm.weight", {h.hidden}, 0.1, 1);
    source.random(p + "attn_q.weight", {h.heads * h.head_dim, h.hidden}, 0.4);
    source.random(p + "attn_k.weight", {h.kv_heads * h.head_dim, h.hidden}, 0.4);
    source.random(p + "attn_v.weight", {h.kv_heads * h.head_dim, h.hidden}, 0.2);
    source.random(p + "attn_output.weight", {h.hidden, h.heads * h.head_dim}, 0.2);
    if (h.experts > 0) {
      source.random(p + "ffn_gate_inp.weight", {h.experts, h.hidden}, 0.3);
      source.random(p + "ffn_gate_exps.weight", {h.experts, h.expert_ffn, h.hidden}, 0.2);
      source.random(p + "ffn_up_exps.weight", {h.experts, h.expert_ffn, h.hidden}, 0.2);
      source.random(p + "ffn_down_exps.weight", {h.experts, h.hidden, h.expert_ffn}, 0.2);
    } else {
      source.random(p + "ffn_gate.weight", {h.ffn, h.hidden}, 0.2);
      source.random(p + "ffn_up.weight", {h.ffn, h.hidden}, 0.2);
      source.random(p + "ffn_down.weight", {h.hidden, h.ffn}, 0.2);
    }
  }
  return source;
}

}  // namespace nibble::test
