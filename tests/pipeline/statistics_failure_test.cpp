// What goes wrong between a model and its statistics is said by name, and leaves nothing behind.
#include <gtest/gtest.h>

#include "containers/imatrix.h"
#include "pipeline/statistics_jobs.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::dense;
using test::mixture;
using test::thrown_by;

class StatisticsFailure : public test::Statistics {
 protected:
  test::Thrown failure_of(const Checkpoint& c, const std::string& solver,
                          std::shared_ptr<StatsSource> stats) {
    return thrown_by([&] { quantize(c, recipe("q4_0", solver), std::move(stats), "out.gguf", pool_); });
  }
  void expect_nothing_left() {
    for (const char* name : {"out.gguf", "out.gguf.partial", "out.gguf.journal", "hidden.partial"})
      EXPECT_FALSE(fs::exists(scratch_.path() / name)) << name;
  }
  /// The dense model with another word in its configuration.
  Checkpoint other(const std::string& from, const std::string& to) {
    std::string config = dense;
    config.replace(config.find(from), from.size(), to);
    return made("other", config.c_str());
  }
};

TEST_F(StatisticsFailure, ANotPositiveDefiniteHessianIsDampedUntilItIsAndThatIsNoted) {
  const Checkpoint c = made("model", dense);
  Recipe r = recipe("q4_0", "gptq");
  r.options.damping = 0;
  // Twenty tokens span no 64 channels: the Hessian is singular.
  const auto notes = quantize(c, r, live(c, pool_, text(1, 20)), "out.gguf", pool_);
  const auto note = notes.find("blk.1.attn_q.weight");
  ASSERT_NE(note, notes.end());
  EXPECT_NE(note->second.find("damping raised"), std::string::npos) << note->second;
}

TEST_F(StatisticsFailure, DeadInputsAreNoted) {
  made("model", dense);
  test::patch_tensor(weights("model"), "model.layers.0.input_layernorm.weight",
                     [](std::vector<float>& x, int64_t) { x[3] = x[7] = 0; });
  const Checkpoint c = open_checkpoint(scratch_.file("model"));
  const auto notes = quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "out.gguf", pool_);
  EXPECT_NE(notes.at("blk.0.attn_k.weight").find("2 inputs are always zero"), std::string::npos);
  EXPECT_FALSE(notes.count("blk.1.attn_k.weight"));
}

TEST_F(StatisticsFailure, InputsThatAreAllDeadAreNamed) {
  made("model", dense);
  test::patch_tensor(weights("model"), "model.layers.1.post_attention_layernorm.weight",
                     [](std::vector<float>& x, int64_t) { std::fill(x.begin(), x.end(), 0.0f); });
  const Checkpoint c = open_checkpoint(scratch_.file("model"));
  const auto e = failure_of(c, "gptq", live(c, pool_));
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("blk.1.ffn_gate.weight")) << e.message;
  EXPECT_TRUE(e.says("Hessian is zero")) << e.message;
  EXPECT_FALSE(e.hint.empty());
  expect_nothing_left();
}

TEST_F(StatisticsFailure, ActivationsThatOverflowAreNamed) {
  made("model", dense);
  for (const char* name : {"model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight"}) {
    test::patch_tensor(weights("model"), name, [](std::vector<float>& x, int64_t) {
      for (float& v : x) v *= 1e22f;
    });
  }
  const Checkpoint c = open_checkpoint(scratch_.file("model"));
  const auto e = failure_of(c, "gptq", live(c, pool_));
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("blk.1.ffn_down")) << e.message;
  EXPECT_TRUE(e.says("infinity") || e.says("NaN")) << e.message;
  EXPECT_FALSE(e.hint.empty());
  expect_nothing_left();
  const auto calibration = thrown_by([&] { calibrated(c, "stats"); });
  EXPECT_EQ(calibration.kind, ErrorKind::bad_input);
  EXPECT_TRUE(calibration.says("blk.1.ffn_down")) << calibration.message;
  EXPECT_FALSE(fs::exists(scratch_.path() / "stats.hidden.partial"));
}

TEST_F(StatisticsFailure, StatisticsOfAnotherModelAreNamed) {
  const Checkpoint c = made("model", dense);
  const Checkpoint wide = other("\"intermediate_size\": 160", "\"intermediate_size\": 192");
  const std::string folder = calibrated(wide, "stats");
  const auto by_folder = failure_of(c, "gptq", folder_stats(folder, c));
  EXPECT_EQ(by_folder.kind, ErrorKind::bad_input);
  EXPECT_TRUE(by_folder.says("blk.0.ffn_down.weight has 160 columns, and the statistics are of 192"))
      << by_folder.message;
  EXPECT_TRUE(by_folder.says("another model")) << by_folder.hint;
  expect_nothing_left();
  const auto by_imatrix = failure_of(c, "nearest", imatrix_stats(calibrated(wide, "imatrix.dat")));
  EXPECT_EQ(by_imatrix.kind, ErrorKind::bad_input);
  EXPECT_TRUE(by_imatrix.says("imatrix.dat")) << by_imatrix.message;
  EXPECT_TRUE(by_imatrix.says("blk.0.ffn_down.weight")) << by_imatrix.message;
  EXPECT_TRUE(by_imatrix.says("another model")) << by_imatrix.hint;
  expect_nothing_left();
}

TEST_F(StatisticsFailure, StatisticsOfFewerLayersAreNamed) {
  const Checkpoint c = made("model", dense);
  const Checkpoint shallow = other("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  Progress silent(Progress::Style::silent);
  CalibrateOptions options{.output = scratch_.file("stats")};
  options.output_matrix = false;
  run_calibration(shallow, text(), options, pool_, silent);
  const auto e = thrown_by([&] { folder_stats(scratch_.file("stats"), c); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("1 layers, and the model has 2")) << e.message;
}

TEST_F(StatisticsFailure, AMatrixThatNoStatisticsTellOfIsNamed) {
  const Checkpoint c = made("model", dense);
  Progress silent(Progress::Style::silent);
  CalibrateOptions options{.output = scratch_.file("stats")};
  options.output_matrix = false;
  run_calibration(c, text(), options, pool_, silent);
  const auto e = failure_of(c, "gptq", folder_stats(scratch_.file("stats"), c));
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("output.weight: nothing was seen of its inputs")) << e.message;
  EXPECT_TRUE(e.says("--keep")) << e.hint;
  expect_nothing_left();
}

TEST_F(StatisticsFailure, ASolverIsNotGivenLessThanItNeeds) {
  const Checkpoint c = made("model", dense);
  const auto none = failure_of(c, "gptq", nullptr);
  EXPECT_EQ(none.kind, ErrorKind::unsupported);
  EXPECT_TRUE(none.says("--calibrate")) << none.hint;
  const auto less = failure_of(c, "gptq", imatrix_stats(calibrated(c, "imatrix.gguf")));
  EXPECT_EQ(less.kind, ErrorKind::unsupported);
  EXPECT_TRUE(less.says("needs the Hessian")) << less.message;
  Progress silent(Progress::Style::silent);
  CalibrateOptions options{.output = scratch_.file("stats")};
  options.hessian = false;
  run_calibration(c, text(), options, pool_, silent);
  EXPECT_EQ(failure_of(c, "gptq", folder_stats(scratch_.file("stats"), c)).kind, ErrorKind::unsupported);
}

// GPT-2 stores its matrices the other way round; statistics are of a matrix's inputs wherever they stand.
TEST_F(StatisticsFailure, TransposedMatricesAreSolvedAlongTheirInputs) {
  const Checkpoint c = made("model", R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
    "n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 128, "n_ctx": 128, "vocab_size": 300,
    "layer_norm_epsilon": 1e-05, "activation_function": "gelu_new"})");
  quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "out.gguf", pool_);
  quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "out", pool_);
  const Checkpoint gguf = open_checkpoint(scratch_.file("out.gguf"));
  const Checkpoint folder = open_checkpoint(scratch_.file("out"));
  for (const char* name : {"blk.0.attn_qkv.weight", "blk.0.attn_output.weight", "blk.0.ffn_down.weight"})
    EXPECT_TRUE(rows_of(gguf, name) == rows_of(folder, name)) << name;
}

}  // namespace
}  // namespace nibble
