#include "model/scalable_inputs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "model/executor.h"
#include "model/load.h"
#include "model/seeded_checkpoint.h"
#include "support/scratch.h"

namespace nibble {
namespace {

/// A checkpoint whose channels are scaled, all weights as f32.
struct ScaledSource final : WeightSource {
  const Checkpoint& model;
  std::map<std::string, std::vector<float>> values;
  explicit ScaledSource(const Checkpoint& m) : model(m) {}

  std::vector<float>& weights(const std::string& name) {
    std::vector<float>& x = values[name];
    const CanonicalTensor& t = model.at(name);
    if (x.empty()) {
      x.resize(static_cast<size_t>(t.shape.elements()));
      model.read_rows(t, 0, t.shape.rows(), x.data());
    }
    return x;
  }
  std::optional<QTensor> find(std::string_view name) const override {
    const auto it = values.find(std::string(name));
    if (it == values.end()) return CheckpointWeights(model).find(name);
    return encode_nearest(format_of("f32"), model.at(name).shape, it->second);
  }
};

std::vector<float> logits(const Program& program, ThreadPool& pool) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 24; ++i) tokens.push_back(i * 331 % 8192);
  Executor executor(program, pool);
  KvCache cache = program.cache(64);
  const auto rows = executor.run(tokens, cache, Want::all);
  return {rows.begin(), rows.end()};
}

class ScalableInputs : public testing::TestWithParam<size_t> {};

/// Scales between 1/4 and 4 on every input that is said to allow it leave the model what it was.
TEST_P(ScalableInputs, KeepTheFunctionOfTheModel) {
  const test::SeededModel& made = test::seeded_models()[GetParam()];
  const test::Scratch scratch;
  test::write_seeded_checkpoint(made, scratch.path(), {});
  const Checkpoint model = open_checkpoint(scratch.path().string());
  ThreadPool pool(2);
  const Program original = load_program(model, pool);
  const std::vector<ScalableInput> inputs = scalable_inputs(original);
  // The norms before attention and MLP of every layer, at least.
  EXPECT_GE(inputs.size(), static_cast<size_t>(2 * model.hparams().layers)) << made.name;
  ScaledSource source(model);
  Rng rng(7);
  for (const ScalableInput& input : inputs) {
    std::vector<float> scale(static_cast<size_t>(input.cols));
    for (float& s : scale) s = static_cast<float>(std::exp2(4 * rng.uniform() - 2));
    for (const std::string& reader : input.readers) {
      std::vector<float>& w = source.weights(reader);
      for (size_t i = 0; i < w.size(); ++i) w[i] *= scale[i % scale.size()];
    }
    for (const std::string& maker : {input.maker, input.maker_bias}) {
      if (maker.empty()) continue;
      const bool matrix = model.at(maker).shape.rank() > 1;
      std::vector<float>& w = source.weights(maker);
      const size_t cols = matrix ? static_cast<size_t>(model.at(maker).shape.cols()) : 1;
      const size_t first = static_cast<size_t>(input.maker_row) * cols;
      for (size_t i = 0; i < scale.size() * cols; ++i) w[first + i] /= scale[i / cols];
    }
  }
  const std::vector<float> before = logits(original, pool);
  const std::vector<float> after = logits(build_program(model.arch(), model.hparams(), source, pool), pool);
  double most = 0, miss = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    most = std::max(most, std::fabs(double{before[i]}));
    miss = std::max(miss, std::fabs(double{before[i]} - double{after[i]}));
  }
  EXPECT_LT(miss, 1e-4 * most) << made.name;
}

INSTANTIATE_TEST_SUITE_P(All, ScalableInputs, testing::Range(size_t{0}, test::seeded_models().size()),
                         [](const auto& tested) {
                           return std::string(test::seeded_models()[tested.param].name);
                         });

TEST(ScalableInputsOfLlama, AreNormsAndTheGatedMlp) {
  const test::Scratch scratch;
  test::write_seeded_checkpoint(test::seeded_models().front(), scratch.path(), {});
  const Checkpoint model = open_checkpoint(scratch.path().string());
  ThreadPool pool(1);
  std::set<std::string> makers;
  for (const ScalableInput& i : scalable_inputs(load_program(model, pool))) makers.insert(i.maker);
  // Two query heads share a value head, so attn_v makes nothing that could be scaled.
  EXPECT_EQ(makers,
            (std::set<std::string>{"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_up.weight",
                                   "blk.1.attn_norm.weight", "blk.1.ffn_norm.weight", "blk.1.ffn_up.weight",
                                   "output_norm.weight"}));
}

}  // namespace
}  // namespace nibble
