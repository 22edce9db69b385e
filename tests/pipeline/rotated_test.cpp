// A rotated model computes what it did, in memory and in every kind of file, and is easier to round.
#include "pipeline/rotated.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/executor.h"
#include "model/load.h"
#include "model/rewrites/activations.h"
#include "model/weight_change.h"
#include "pipeline/statistics_jobs.h"
#include "support/data.h"

namespace nibble {
namespace {

/// Six channels behind every norm of a layer fifty times as large, and what reads them as much smaller.
class Planted final : public WeightChange {
 public:
  explicit Planted(const Checkpoint& model) : model_(model) {}
  std::string identity() const override { return "planted"; }
  bool touches(const CanonicalTensor& t) const override {
    return t.layer >= 0 && t.shape.cols() == model_.hparams().hidden && t.role != Role::attn_output &&
           t.role != Role::bias;
  }
  std::string note(const CanonicalTensor&) const override { return {}; }
  void read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const override {
    model_.read_rows(t, row, n, out);
    const int64_t cols = t.shape.cols();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 3; c < 3 + 6 * 7; c += 7) {
        float& x = out[i * cols + c];
        x = t.role == Role::norm ? x * 50 : x / 50;
      }
    }
  }
  void release(const CanonicalTensor&) const noexcept override {}
  uint64_t memory() const noexcept override { return 0; }

 private:
  Checkpoint model_;
};

class RotatedTest : public test::Statistics {
 protected:
  static Recipe rotating(const std::string& type = "f32", const std::string& word = "rotate") {
    Recipe r = recipe(type, "nearest");
    r.with = {word};
    return r;
  }
  std::vector<float> logits(const Checkpoint& c, const char* activations = nullptr) {
    BuildOptions options;
    ActivationPlan plan;
    if (activations != nullptr) {
      plan.scheme = ActivationScheme::parse(activations);
      options.activations = &plan;
    }
    const Program program = load_program(c, pool_, options);
    Executor executor(program, pool_);
    KvCache cache = program.cache(64);
    const auto rows = executor.run(text().sequences.front(), cache, Want::all);
    return {rows.begin(), rows.end()};
  }
  static double difference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, double{std::fabs(a[i] - b[i])});
    return most;
  }
  Checkpoint written(const Checkpoint& c, const Recipe& r, const std::string& name) {
    quantize(recipe_source(c, r, pool_), r, nullptr, name, pool_);
    return open_checkpoint(scratch_.file(name));
  }
  test::Thrown refused(const Checkpoint& c, const Recipe& r) {
    return test::thrown_by([&] { recipe_source(c, r, pool_); });
  }
};

TEST_F(RotatedTest, ComputesWhatItDidInMemoryAndInBothKindsOfFile) {
  int turned = 0, refusals = 0;
  for (const test::SeededModel& m : test::seeded_models()) {
    const Checkpoint c = made(m.name, m.config);
    const bool can = c.arch().norm == NormKind::rms && !c.arch().name.starts_with("gemma");
    if (!can) {
      const test::Thrown why = refused(c, rotating());
      EXPECT_EQ(why.kind, ErrorKind::unsupported) << m.name;
      EXPECT_TRUE(why.says("cannot be rotated")) << m.name << ": " << why.message;
      EXPECT_TRUE(why.says("--with smoothquant")) << why.hint;
      ++refusals;
      continue;
    }
    ++turned;
    const std::vector<float> before = logits(c);
    const Checkpoint r = recipe_source(c, rotating(), pool_);
    EXPECT_LT(difference(before, logits(r)), 1e-4) << m.name;
    EXPECT_NE(rows_of(c, "blk.0.attn_output.weight"), rows_of(r, "blk.0.attn_output.weight"));
    for (const float gain : rows_of(r, "blk.1.ffn_norm.weight")) ASSERT_EQ(gain, 1.0f);
    for (const std::string name : {"out", "out.gguf"}) {
      const Checkpoint out = written(c, rotating(), m.name + name);
      EXPECT_FALSE(out.hparams().tied) << m.name;
      EXPECT_LT(difference(before, logits(out)), 1e-4) << m.name << name;
    }
  }
  EXPECT_EQ(turned, 8);
  EXPECT_EQ(refusals, 4);
}

TEST_F(RotatedTest, AModelFromAGgufFileTurnsTheSameWay) {
  const Checkpoint c = made("model", test::dense);
  const Checkpoint gguf = written(c, recipe("f32", "nearest"), "plain.gguf");
  const Checkpoint a = written(c, rotating(), "a.gguf"), b = written(gguf, rotating(), "b.gguf");
  EXPECT_EQ(tensors("a.gguf"), tensors("b.gguf"));
  EXPECT_LT(difference(logits(c), logits(written(gguf, rotating(), "out"))), 1e-4);
}

TEST_F(RotatedTest, OutliersNoLongerBreakRoundedActivations) {
  const Checkpoint c = made("model", test::dense);
  Progress silent(Progress::Style::silent);
  const Checkpoint change = with_change(c, std::make_shared<Planted>(c), false);
  run_job(plan_conversion(change, Target::huggingface, &format_of("f32")), {scratch_.file("planted"), true},
          pool_, silent);
  const Checkpoint planted = open_checkpoint(scratch_.file("planted"));
  const std::vector<float> exact = logits(c);
  EXPECT_LT(difference(exact, logits(planted)), 1e-3) << "planting changed the function";
  const double before = difference(exact, logits(c, "int8"));
  const double broken = difference(exact, logits(planted, "int8"));
  const double mended = difference(exact, logits(written(planted, rotating(), "mended"), "int8"));
  EXPECT_GT(broken, 4 * before);
  EXPECT_LT(mended, 2 * before);
  // And with matrices in whole numbers.
  const double whole = difference(exact, logits(written(planted, rotating("int8:channel"), "whole"), "int8"));
  const double plain =
      difference(exact, logits(written(planted, recipe("int8:channel", "nearest"), "plain"), "int8"));
  EXPECT_LT(whole, plain / 3);
}

TEST_F(RotatedTest, TheSameBytesForEveryNumberOfThreadsAndOthersForAnotherSeed) {
  const Checkpoint c = made("model", test::mixture);
  const auto bytes = [&](int threads, const std::string& word, const std::string& name) {
    ThreadPool pool(threads);
    const Recipe r = rotating("int4:g32", word);
    quantize(recipe_source(c, r, pool), r, nullptr, name, pool);
    return tensors(name);
  };
  const auto expected = bytes(1, "rotate", "one");
  for (const int threads : {2, 3, 8}) EXPECT_EQ(bytes(threads, "rotate", "more"), expected) << threads;
  EXPECT_NE(bytes(2, "rotate:seed=7", "seven"), expected);
  const TensorFile file = open_tensor_file(scratch_.file("seven"));
  EXPECT_NE(file.metadata().text("nibble.recipe").value_or("").find("with=rotate:seed=7"), std::string::npos);
}

TEST_F(RotatedTest, GoesBeforeScalesAndErrorFeedbackWithStatisticsOfItsOwn) {
  const Checkpoint c = made("model", test::dense);
  const std::vector<float> exact = logits(c);
  const auto loss = [&](std::vector<std::string> with, const std::string& solver, const std::string& name) {
    Recipe r = recipe("int4:g32", solver);
    r.with = std::move(with);
    const Checkpoint source = recipe_source(c, r, pool_);
    quantize(source, r, r.needs().any() ? live(source, pool_) : nullptr, name, pool_);
    const std::vector<float> y = logits(open_checkpoint(scratch_.file(name)));
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += std::pow(double{y[i]} - exact[i], 2);
    return sum / static_cast<double>(y.size());
  };
  const double nearest = loss({"rotate"}, "nearest", "n"), feedback = loss({"rotate"}, "gptq", "g");
  EXPECT_LT(feedback, 0.6 * nearest);
  EXPECT_LT(loss({"rotate", "awq"}, "gptq", "ag"), 0.7 * nearest);
  EXPECT_LT(loss({"rotate", "smoothquant"}, "nearest", "s"), 2 * nearest);
}

TEST_F(RotatedTest, TheLedgerTellsWhatWasDone) {
  const Checkpoint c = made("tied", R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 256, "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})");
  const Recipe r = rotating("q8_0");
  const QuantizationPlan plan = plan_quantization(recipe_source(c, r, pool_), Target::gguf, r);
  std::map<std::string, std::string> reasons;
  for (const LedgerLine& l : plan.ledger.lines) reasons[l.target] = l.reason;
  EXPECT_EQ(reasons.at("output.weight"), "rotated, with the gain of output_norm");
  EXPECT_EQ(reasons.at("token_embd.weight"), "rotated");
  EXPECT_EQ(reasons.at("blk.0.attn_k.weight"), "rotated, with the gain of blk.0.attn_norm");
  EXPECT_EQ(reasons.at("blk.0.ffn_down.weight"), "rotated");
  EXPECT_EQ(reasons.at("blk.0.attn_norm.weight"), "a vector; its gain went into what reads it");
  EXPECT_EQ(reasons.at("blk.0.attn_v.bias"), "a vector; rotated");
  EXPECT_EQ(reasons.at("blk.0.attn_q.bias"), "a vector");
}

TEST_F(RotatedTest, WhatCannotBeIsRefused) {
  const Checkpoint c = made("model", test::dense);
  const Checkpoint small = written(c, recipe("q8_0", "nearest"), "small");
  EXPECT_TRUE(refused(small, rotating()).says("quantized already"));
  Recipe late = rotating();
  late.with = {"awq", "rotate"};
  EXPECT_TRUE(refused(c, late).says("does not stand first"));
  EXPECT_TRUE(refused(c, rotating("f32", "rotate:seed=x")).says("rotate[:online][:seed=N]"));
  EXPECT_TRUE(refused(c, rotating("f32", "rotate:twice")).says("twice"));
  EXPECT_TRUE(test::thrown_by([&] {
                rotated(recipe_source(c, rotating(), pool_), {}, pool_);
              }).says("changed already"));
  // A source that was not prepared for its recipe is a mistake of the caller.
  EXPECT_THROW(plan_quantization(c, Target::gguf, rotating()), Error);
  EXPECT_THROW(plan_quantization(recipe_source(c, rotating(), pool_), Target::gguf, recipe("f32", "nearest")),
               Error);
}

TEST_F(RotatedTest, ARealModelComputesWhatItDid) {
  NIBBLE_NEEDS_DATA(folder, "models/docs-21m");
  const Checkpoint c = open_checkpoint(folder.string());
  EXPECT_LT(difference(logits(c), logits(recipe_source(c, rotating(), pool_))), 2e-3);
}

}  // namespace
}  // namespace nibble
