// Files whose down projections read turned inputs: they say so, every verb that reads them does it, and what
// is rounded loses less.
#include <gtest/gtest.h>

#include <cmath>

#include "containers/annotation.h"
#include "model/activation_note.h"
#include "model/executor.h"
#include "model/load.h"
#include "model/weight_change.h"
#include "pipeline/activation_ranges.h"
#include "pipeline/rotated.h"
#include "pipeline/statistics_jobs.h"

namespace nibble {
namespace {

using test::dense;

const std::vector<std::string> both{"blk.0.ffn_down", "blk.1.ffn_down"};

class OnlineRotation : public test::Statistics {
 protected:
  static Recipe online(const std::string& type = "f32", const std::string& activations = "") {
    Recipe r = recipe(type, "nearest");
    r.with = {"rotate:online"};
    if (!activations.empty()) r.activations = ActivationScheme::parse(activations);
    return r;
  }
  Checkpoint written(QuantizationPlan plan, const std::string& name) {
    Progress silent(Progress::Style::silent);
    run_job(plan, {scratch_.file(name), true}, pool_, silent);
    return open_checkpoint(scratch_.file(name));
  }
  static Target target_of(const std::string& name) {
    return name.ends_with(".gguf") ? Target::gguf : Target::huggingface;
  }
  Checkpoint quantized(const Checkpoint& c, const Recipe& r, const std::string& name) {
    QuantizationPlan plan = plan_quantization(recipe_source(c, r, pool_), target_of(name), r);
    note_activations(plan, pool_);
    return written(std::move(plan), name);
  }
  Checkpoint converted(const Checkpoint& c, const std::string& name) {
    return written(plan_conversion(c, target_of(name), nullptr), name);
  }
  std::vector<float> logits(const Checkpoint& c, const ActivationPlan* plan = nullptr) {
    BuildOptions options;
    options.activations = plan;
    const Program program = load_program(c, pool_, options);
    Executor executor(program, pool_);
    KvCache cache = program.cache(64);
    const auto rows = executor.run(text().sequences.front(), cache, Want::all);
    return {rows.begin(), rows.end()};
  }
  static double difference(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - b[i], 2);
    return std::sqrt(sum / static_cast<double>(a.size()));
  }
  test::Thrown refused(const Checkpoint& c, const Recipe& r) {
    return test::thrown_by([&] { recipe_source(c, r, pool_); });
  }
};

TEST_F(OnlineRotation, FilesSayWhichInputsAreTurnedAndEveryRunTurnsThem) {
  const Checkpoint c = made("model", dense);
  const std::vector<float> exact = logits(c);
  const ActivationPlan floats{ActivationScheme::parse("float"), {}, {}};
  for (const std::string name : {"out", "out.gguf"}) {
    const Checkpoint out = quantized(c, online(), name);
    EXPECT_EQ(turned_inputs(out), both);
    ASSERT_TRUE(activation_plan(out));
    EXPECT_EQ(activation_plan(out)->scheme.to_string(), "float");
    EXPECT_LT(difference(exact, logits(out)), 1e-4);
    // What a user asks for cannot take it away.
    EXPECT_LT(difference(exact, logits(out, &floats)), 1e-4);
    // Left out, the model is another one.
    const Program wrong = build_program(out.arch(), out.hparams(), CheckpointWeights(out), pool_);
    Executor executor(wrong, pool_);
    KvCache cache = wrong.cache(64);
    const auto rows = executor.run(text().sequences.front(), cache, Want::all);
    EXPECT_GT(difference(exact, {rows.begin(), rows.end()}), 0.1);
  }
  const Checkpoint asking = quantized(c, online("int8:channel", "int8"), "asking");
  EXPECT_EQ(turned_inputs(asking), both);
  EXPECT_EQ(activation_plan(asking)->scheme.to_string(), "int8");
}

TEST_F(OnlineRotation, ConversionsAndFurtherRoundingCarryIt) {
  const Checkpoint c = made("model", dense);
  const std::vector<float> exact = logits(c);
  const Checkpoint gguf = quantized(c, online("f32", "int8"), "first.gguf");
  const Checkpoint folder = converted(gguf, "folder"), again = converted(folder, "again.gguf");
  for (const Checkpoint& out : {folder, again}) {
    EXPECT_EQ(turned_inputs(out), both) << out.path();
    EXPECT_EQ(activation_plan(out)->scheme.to_string(), "int8");
    EXPECT_LT(difference(exact, logits(out)), 1e-4);
  }
  const Checkpoint small = quantized(folder, recipe("q8_0", "nearest"), "small.gguf");
  EXPECT_EQ(turned_inputs(small), both);
  EXPECT_LT(difference(exact, logits(small)), 0.1);
  // A second rotation of the stream leaves the columns of the down projections alone.
  Recipe plain = recipe("f32", "nearest");
  plain.with = {"rotate:seed=3"};
  EXPECT_LT(difference(exact, logits(quantized(folder, plain, "twice"))), 1e-4);
  EXPECT_TRUE(refused(folder, online()).says("turned already"));
}

TEST_F(OnlineRotation, StatisticsAreOfTheTurnedInputs) {
  const Checkpoint c = made("model", dense);
  Recipe r = online("int4:g32", "int4");
  r.solver = "gptq";
  const Checkpoint source = recipe_source(c, r, pool_);
  QuantizationPlan plan = plan_quantization(source, Target::huggingface, r, live(source, pool_));
  note_activations(plan, pool_);
  const Checkpoint out = written(std::move(plan), "gptq");
  const std::vector<float> exact = logits(c);
  EXPECT_LT(difference(exact, logits(out)),
            0.8 * difference(exact, logits(quantized(c, online("int4:g32"), "rtn"))));
  // Static ranges too.
  Recipe fixed = online("f32", "int8:static");
  Progress silent(Progress::Style::silent);
  run_calibration(recipe_source(c, fixed, pool_), text(), {.output = scratch_.file("stats")}, pool_, silent);
  const Checkpoint changed = recipe_source(c, fixed, pool_);
  QuantizationPlan ranged =
      plan_quantization(changed, Target::huggingface, fixed, folder_stats(scratch_.file("stats"), changed));
  note_activations(ranged, pool_);
  const Checkpoint at_rest = written(std::move(ranged), "static");
  const auto noted = activation_plan(at_rest);
  ASSERT_TRUE(noted);
  EXPECT_LT(difference(exact, logits(at_rest, &*noted)), 0.1);
}

TEST_F(OnlineRotation, WhatCannotBeIsRefused) {
  const test::Thrown experts = refused(made("experts", test::mixture), online());
  EXPECT_EQ(experts.kind, ErrorKind::unsupported);
  EXPECT_TRUE(experts.says("experts"));
  const Checkpoint c = made("model", dense);
  EXPECT_TRUE(refused(c, online("int8:channel", "integer-only")).says("integer-only"));
  // A job whose plan was not noted would write a file that lies.
  Progress silent(Progress::Style::silent);
  const QuantizationPlan plan = plan_quantization(recipe_source(c, online(), pool_), Target::gguf, online());
  EXPECT_THROW(run_job(plan, {scratch_.file("forgotten.gguf"), true}, pool_, silent), Error);
  // Notes that are none.
  const Checkpoint out = quantized(c, online(), "out.gguf");
  for (const char* bad :
       {R"([])", R"({"scheme": "float", "turned": "blk.0.ffn_down"})",
        R"({"scheme": "float", "turned": [1]})", R"({"scheme": "float", "turned": ["blk.0.attn_q"]})",
        R"({"scheme": "float", "turned": ["blk.7.ffn_down"]})"}) {
    annotate(open_checkpoint(out.path()).file(), std::string(activation_note_key), bad);
    const test::Thrown thrown = test::thrown_by([&] { logits(open_checkpoint(out.path())); });
    EXPECT_EQ(thrown.kind, ErrorKind::bad_input) << bad;
  }
}

}  // namespace
}  // namespace nibble
