// Recipes that ask for rounded activations: what the file says of them, and that it is true of the file's
// model.
#include <gtest/gtest.h>

#include <cmath>

#include "model/activation_note.h"
#include "model/executor.h"
#include "model/load.h"
#include "pipeline/activation_ranges.h"
#include "pipeline/recipe_file.h"
#include "pipeline/statistics_jobs.h"

namespace nibble {
namespace {

using test::dense;

class ActivationRecipe : public test::Statistics {
 protected:
  static Recipe asking(const std::string& scheme, const std::string& type = "f32") {
    Recipe r = recipe(type, "nearest");
    r.activations = ActivationScheme::parse(scheme);
    return r;
  }
  Checkpoint quantized(const Checkpoint& c, const Recipe& r, std::shared_ptr<StatsSource> stats,
                       const std::string& name) {
    Progress silent(Progress::Style::silent);
    const Target target = name.ends_with(".gguf") ? Target::gguf : Target::huggingface;
    QuantizationPlan plan = plan_quantization(c, target, r, std::move(stats));
    note_activations(plan, pool_);
    run_job(plan, {scratch_.file(name), true}, pool_, silent);
    return open_checkpoint(scratch_.file(name));
  }
  std::string folder(const Checkpoint& c, const std::string& name, bool histogram = false) {
    Progress silent(Progress::Style::silent);
    run_calibration(c, text(), {.output = scratch_.file(name), .histogram = histogram}, pool_, silent);
    return scratch_.file(name);
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
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, double{std::fabs(a[i] - b[i])});
    return most;
  }
};

TEST_F(ActivationRecipe, TheFileSaysHowInBothKindsOfFile) {
  const Checkpoint c = made("model", dense);
  Recipe r = asking("int8:outliers=6", "q8_0");
  r.activations_keep = {"*ffn_down"};
  for (const char* name : {"out.gguf", "out"}) {
    const auto plan = activation_plan(quantized(c, r, nullptr, name));
    ASSERT_TRUE(plan) << name;
    EXPECT_EQ(plan->scheme.to_string(), "int8:outliers=6");
    EXPECT_EQ(plan->keep, r.activations_keep);
    EXPECT_TRUE(plan->ranges.empty());
  }
  EXPECT_FALSE(activation_plan(quantized(c, recipe("q8_0", "nearest"), nullptr, "plain")));
}

TEST_F(ActivationRecipe, StaticRangesAreThoseOfTheModelThatIsWritten) {
  const Checkpoint c = made("model", dense);
  for (const char* transform : {"", "smoothquant", "awq", "smoothquant,awq"}) {
    Recipe r = asking("int8:static");
    for (const std::string word : {"smoothquant", "awq"})
      if (std::string(transform).find(word) != std::string::npos) r.with.push_back(word);
    const Checkpoint out = quantized(c, r, folder_stats(folder(c, "stats"), c), "out");
    EXPECT_LT(difference(logits(c), logits(out)), 1e-4) << transform;
    const auto plan = activation_plan(out);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->ranges.size(), 2u * 7);
    // What the written model's matrices really read.
    InputRanges expected;
    const StatsFolder seen = StatsFolder::open(folder(out, "stats-of-out"));
    for (int64_t part = 0; part < 2; ++part) {
      for (const InputStats& s : seen.read(part)) add_ranges(expected, s, RangeRule(), plan->scheme);
    }
    for (const auto& [node, range] : plan->ranges) {
      ASSERT_EQ(expected.count(node), 1u) << node;
      EXPECT_NEAR(range.low, expected.at(node).low, 1e-4f * (1 - range.low)) << transform << " " << node;
      EXPECT_NEAR(range.high, expected.at(node).high, 1e-4f * (1 + range.high)) << transform << " " << node;
    }
    EXPECT_NO_THROW(logits(out, &*plan));
  }
}

TEST_F(ActivationRecipe, WhatTheRuntimeWouldRefuseIsRefusedByThePlanInTheSameWords) {
  for (const char* config : {dense, test::mixture}) {
    const Checkpoint c = made("model", config);
    const auto plan_of = [&](Recipe r, const std::string& activations) {
      r.activations = ActivationScheme::parse(activations);
      return test::thrown_by([&] { plan_quantization(c, Target::huggingface, r); });
    };
    const auto run_of = [&](Recipe r, const std::string& activations) {
      const Checkpoint out = quantized(c, r, nullptr, "out");
      const ActivationPlan plan{ActivationScheme::parse(activations), r.activations_keep, {}};
      return test::thrown_by([&] { logits(out, &plan); });
    };
    Recipe whole = recipe("int8:channel", "nearest");
    EXPECT_FALSE(plan_of(whole, "integer-only").any);
    EXPECT_FALSE(run_of(whole, "integer-only").any);
    std::vector<std::pair<Recipe, std::string>> refused;
    for (const char* format : {"keep", "q5_0", "int4:g32:zf"}) {
      for (const char* pattern : {"*v_proj", config == dense ? "*down_proj" : "*w2", "lm_head"}) {
        refused.emplace_back(whole, "integer-only");
        refused.back().first.overrides.push_back({pattern, format});
      }
    }
    refused.emplace_back(whole, "integer-only");
    refused.back().first.activations_keep = {"*attn_q"};
    refused.emplace_back(whole, "int8:adaptive");
    refused.back().first.activations_keep = {"*attn_q", "*attn_w"};
    for (const auto& [r, activations] : refused) {
      const auto planned = plan_of(r, activations), run = run_of(r, activations);
      EXPECT_TRUE(planned.any) << r.to_string();
      EXPECT_EQ(planned.kind, run.kind) << r.to_string();
      EXPECT_EQ(planned.message, run.message) << r.to_string();
      EXPECT_EQ(planned.hint, run.hint) << r.to_string();
    }
    // One expert in another format: the whole stack is no whole numbers then.
    if (config == dense) continue;
    whole.overrides.push_back({"*experts.1.w2.weight", "nf4"});
    const auto planned = plan_of(whole, "integer-only");
    EXPECT_TRUE(planned.says("blk.0.ffn_down_exps.weight")) << planned.message;
  }
}

TEST_F(ActivationRecipe, SmoothQuantScalesWhatTheAwqSearchLeavesAlone) {
  const Checkpoint c = made("model", dense);
  Recipe r = asking("int8", "int8:channel");
  r.with = {"smoothquant"};
  const auto notes = quantize(c, recipe("int8:channel", "nearest"), live(c, pool_), "plain", pool_);
  EXPECT_TRUE(notes.empty());
  QuantizationPlan plan = plan_quantization(c, Target::huggingface, r, live(c, pool_));
  note_activations(plan, pool_);
  Progress silent(Progress::Style::silent);
  const auto smooth = run_job(plan, {scratch_.file("smooth"), true}, pool_, silent).notes;
  // Queries, keys, values, gate and up read norms; down reads up's rows; two layers, and the output matrix.
  ASSERT_EQ(smooth.size(), 2u * 6 + 1);
  for (const auto& [tensor, note] : smooth) EXPECT_TRUE(note.starts_with("SmoothQuant scales from ")) << note;
}

TEST_F(ActivationRecipe, WhatCannotBeKnownIsRefused) {
  const Checkpoint c = made("model", dense);
  const auto thrown = [&](const Recipe& r, std::shared_ptr<StatsSource> stats) {
    return test::thrown_by([&] { quantized(c, r, std::move(stats), "out"); });
  };
  EXPECT_TRUE(thrown(asking("int8:static"), live(c, pool_)).says("statistics in a folder"));
  EXPECT_TRUE(thrown(asking("int8:static"), nullptr).says("needs the largest magnitudes"));
  Recipe r = asking("int8:static");
  r.range = "percentile=99.9";
  EXPECT_TRUE(thrown(r, folder_stats(folder(c, "bare"), c)).says("needs the distribution"));
  const std::string stats = folder(c, "full", true);
  EXPECT_EQ(activation_plan(quantized(c, r, folder_stats(stats, c), "cut"))->ranges.size(), 2u * 7);
  r.with = {"smoothquant"};
  EXPECT_TRUE(thrown(r, folder_stats(stats, c)).says("nothing of single channels"));
  // A plan whose note was forgotten is no plan.
  Progress silent(Progress::Style::silent);
  const QuantizationPlan plan = plan_quantization(c, Target::huggingface, asking("int8"));
  EXPECT_THROW(run_job(plan, {scratch_.file("forgotten"), true}, pool_, silent), Error);
}

}  // namespace
}  // namespace nibble
