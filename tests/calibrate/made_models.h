#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "calibrate/layer_walk.h"
#include "model/checkpoint.h"
#include "model/seeded_checkpoint.h"

namespace nibble::test {

/// Models too small to wait for, whose 80 columns are no multiple of what anything works in strips of.
inline const std::vector<SeededModel>& made_models() {
  static const std::vector<SeededModel> models{
      {"llama", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 80,
        "intermediate_size": 168, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 300, "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"mixtral", R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 80,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 300, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": false})"},
      {"gptneox", R"({"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_size": 80,
        "intermediate_size": 320, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300,
        "max_position_embeddings": 256, "rotary_pct": 0.4, "rotary_emb_base": 10000, "layer_norm_eps": 1e-05,
        "use_parallel_residual": true, "hidden_act": "gelu", "tie_word_embeddings": false})"},
  };
  return models;
}

inline Checkpoint made_checkpoint(const std::string& name, const std::filesystem::path& folder) {
  for (const SeededModel& m : made_models()) {
    if (m.name != name) continue;
    write_seeded_checkpoint(m, folder, {});
    return open_checkpoint(folder.string());
  }
  throw Error(ErrorKind::internal, "no made model " + name);
}

/// Seeded tokens below 300.
inline std::vector<Sequence> made_sequences(size_t count, size_t length, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<Sequence> all(count, Sequence(length));
  for (Sequence& s : all) {
    for (int32_t& t : s) t = static_cast<int32_t>(rng.below(300));
  }
  return all;
}

/// What was thrown: kind, message, hint; empty if nothing was.
struct Thrown {
  bool any = false;
  ErrorKind kind = ErrorKind::internal;
  std::string message, hint;
  bool says(const std::string& words) const { return (message + "\n" + hint).find(words) != message.npos; }
};

template <class Body>
Thrown thrown_by(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    return {true, e.kind(), e.what(), e.hint()};
  }
  return {};
}

}  // namespace nibble::test
