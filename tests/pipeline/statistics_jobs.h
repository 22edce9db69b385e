#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "calibrate/made_models.h"
#include "pipeline/calibrate_job.h"
#include "pipeline/job.h"
#include "support/checkpoint_maker.h"
#include "support/patch.h"
#include "support/scratch.h"

namespace nibble::test {

/// Of 64 columns, which every format with blocks of 32 can hold.
inline constexpr const char* dense = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 256, "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false})";
inline constexpr const char* mixture = R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 300,
  "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "hidden_act": "silu",
  "tie_word_embeddings": false})";

/// Jobs with statistics of small made models.
class Statistics : public testing::Test {
 protected:
  std::string weights(const std::string& name) const { return scratch_.file(name) + "/model.safetensors"; }
  Checkpoint made(const std::string& name, const char* config) {
    write_seeded_checkpoint({name.c_str(), config}, scratch_.path() / name, {});
    return open_checkpoint(scratch_.file(name));
  }
  static CalibrationText text(size_t count = 6, size_t length = 64) {
    CalibrationText t;
    t.sequences = made_sequences(count, length);
    t.length = static_cast<int64_t>(length);
    t.description = "seeded tokens";
    t.hash = "seeded " + std::to_string(count);
    return t;
  }
  static Recipe recipe(const std::string& type, const std::string& solver) {
    Recipe r;
    r.type = type;
    r.solver = solver;
    r.pure = true;
    return r;
  }
  std::shared_ptr<StatsSource> live(const Checkpoint& c, ThreadPool& pool,
                                    const CalibrationText& t = text()) {
    return walk_stats(c, t, {.importance = true, .hessian = true}, scratch_.file("hidden.partial"), pool);
  }
  /// A file ending in .gguf or a folder, and what had to be done.
  std::map<std::string, std::string> quantize(const Checkpoint& c, const Recipe& r,
                                              std::shared_ptr<StatsSource> stats, const std::string& name,
                                              ThreadPool& pool) {
    Progress silent(Progress::Style::silent);
    const Target target = name.ends_with(".gguf") ? Target::gguf : Target::huggingface;
    const QuantizationPlan plan = plan_quantization(c, target, r, std::move(stats));
    return run_job(plan, {scratch_.file(name), true}, pool, silent).notes;
  }
  std::string calibrated(const Checkpoint& c, const std::string& name, const CalibrationText& t = text()) {
    Progress silent(Progress::Style::silent);
    run_calibration(c, t, {.output = scratch_.file(name)}, pool_, silent);
    return scratch_.file(name);
  }
  std::map<std::string, std::string> tensors(const std::string& name) const {
    std::map<std::string, std::string> all;
    const TensorFile file = open_tensor_file(scratch_.file(name));
    for (const StoredTensor& t : file.tensors()) {
      const auto* bytes = reinterpret_cast<const char*>(t.raw.bytes.data());
      all[t.name] = std::string(bytes, t.raw.bytes.size());
    }
    return all;
  }
  static std::vector<float> rows_of(const Checkpoint& c, const std::string& name) {
    const CanonicalTensor& t = c.at(name);
    std::vector<float> x(static_cast<size_t>(t.shape.elements()));
    c.read_rows(t, 0, t.shape.rows(), x.data());
    return x;
  }

  Scratch scratch_;
  ThreadPool pool_{2};
};

}  // namespace nibble::test
