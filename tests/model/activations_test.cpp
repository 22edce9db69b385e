// Rounded activations in whole programs.
#include "model/rewrites/activations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/activation_note.h"
#include "model/executor.h"
#include "ops/activation.h"
#include "ops/int8_linear.h"
#include "small_model.h"

namespace nibble {
namespace {

using test::MapSource;

constexpr int32_t tokens[] = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7};

MapSource quantized(const Hparams& h, const std::string& format) {
  MapSource source = test::random_weights(h);
  for (auto& [name, tensor] : source.tensors) {
    if (!name.starts_with("blk.") || tensor.shape.rank() < 2) continue;
    std::vector<float> x(static_cast<size_t>(tensor.shape.elements()));
    decode_range(tensor, 0, tensor.shape.elements(), x.data());
    tensor = encode_nearest(format_of(format), tensor.shape, x);
  }
  return source;
}

std::vector<float> logits(const Program& program, ThreadPool& pool, size_t cut = 0) {
  Executor executor(program, pool);
  KvCache cache = program.cache(32);
  const std::span<const int32_t> all(tokens);
  const auto first = executor.run(all.first(cut), cache, Want::all);
  std::vector<float> y(first.begin(), first.end());
  const auto rest = executor.run(all.subspan(cut), cache, Want::all);
  y.insert(y.end(), rest.begin(), rest.end());
  return y;
}

Program build(const MapSource& source, const Hparams& h, ThreadPool& pool, const ActivationPlan* plan,
              ActivationReport* report = nullptr) {
  return build_program(test::llama_like(), h, source, pool, {.activations = plan, .report = report});
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(d / size);
}

TEST(RoundActivations, GivesTheSameBitsAtEveryLevelThreadCountAndCut) {
  const Hparams h = test::small_hparams();
  const MapSource source = quantized(h, "int8:channel");
  const IsaLevel before = isa_level();
  for (const char* word : {"int8", "int8:asym", "int8:outliers=2", "int4"}) {
    const ActivationPlan plan{ActivationScheme::parse(word), {}, {}};
    std::vector<float> first;
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      for (const int threads : {1, 2}) {
        ThreadPool pool(threads);
        ActivationReport report;
        const Program program = build(source, h, pool, &plan, &report);
        EXPECT_EQ(report.whole, 14);
        EXPECT_EQ(report.rounded, 0);
        EXPECT_EQ(report.kept, std::vector<std::string>{"output"});
        for (const size_t cut : {0, 1, 7}) {
          const auto y = logits(program, pool, cut);
          if (first.empty()) first = y;
          EXPECT_EQ(y, first) << word << " " << isa_name(level) << " " << cut;
        }
      }
    }
    set_isa_level(before);
    ThreadPool pool(1);
    const double noise = distance(first, logits(build(source, h, pool, nullptr), pool));
    EXPECT_GT(noise, 1e-4) << word;
    EXPECT_LT(noise, word == std::string("int4") ? 0.5 : 0.02) << word;
  }
}

// An activation that becomes part of the product before it changes no bit; a gated one stays.
TEST(RoundActivations, JoinActivationsOfOneInputToTheProductBefore) {
  Hparams h = test::small_hparams();
  h.ffn = 64;
  ThreadPool pool(2);
  const auto activations = [](const Program& program) {
    return std::count_if(program.nodes.begin(), program.nodes.end(),
                         [](const Node& node) { return node.op == &activation_op; });
  };
  const MapSource source = quantized(h, "int8:channel");
  const ActivationPlan plan{ActivationScheme::parse("int8"), {}, {}};
  EXPECT_EQ(activations(build(source, h, pool, &plan)), h.layers);

  Arch plain = test::llama_like();
  MlpStep ungated;
  ungated.gated = false;
  for (Step& step : plain.layer) {
    if (step.kind == Step::Kind::moe) step = ungated;
  }
  const Program joined = build_program(plain, h, source, pool, {.activations = &plan});
  EXPECT_EQ(activations(joined), 0);
  Program apart = build_program(plain, h, source, pool, {});
  EXPECT_EQ(activations(apart), h.layers);
  for (Node& node : apart.nodes) {
    if (node.op != &linear_op || !node.name.starts_with("blk.")) continue;
    const auto a = node.attribute<LinearAttributes>();
    const auto matrix = std::make_shared<Int8Matrix>(*node.weight(0)->matrix, a.first, a.rows, pool);
    node.attributes = Int8LinearAttributes{a, plan.scheme.grid(), matrix, nullptr, {}};
    node.op = &int8_linear_op;
  }
  EXPECT_EQ(logits(joined, pool), logits(apart, pool));
}

TEST(RoundActivations, RoundsTheInputsOfAnyMatrix) {
  Hparams h = test::small_hparams();
  h.ffn = 64;
  ThreadPool pool(2);
  const ActivationPlan plan{ActivationScheme::parse("int8"), {}, {}};
  for (const char* format : {"f32", "q8_0", "iq4_nl"}) {
    const MapSource source = quantized(h, format);
    ActivationReport report;
    const Program program = build(source, h, pool, &plan, &report);
    EXPECT_EQ(report.whole + report.rounded, 14) << format;
    EXPECT_EQ(report.whole > 0, format == std::string("q8_0"));
    const double noise = distance(logits(program, pool), logits(build(source, h, pool, nullptr), pool));
    EXPECT_GT(noise, 1e-4) << format;
    EXPECT_LT(noise, 0.05) << format;
  }
}

TEST(RoundActivations, KeepsWhatThePatternsName) {
  const Hparams h = test::small_hparams();
  const MapSource source = quantized(h, "int8:channel");
  ThreadPool pool(1);
  ActivationPlan plan{ActivationScheme::parse("int8"), {"blk.0.*", "*ffn_down"}, {}};
  ActivationReport report;
  build(source, h, pool, &plan, &report);
  EXPECT_EQ(report.whole, 6);
  EXPECT_EQ(report.kept.size(), 9u);
  plan.keep = {"*"};
  EXPECT_EQ(logits(build(source, h, pool, &plan), pool), logits(build(source, h, pool, nullptr), pool));
  plan.keep = {"*ffn_down", "*typo*"};
  EXPECT_THROW(build(source, h, pool, &plan), Error);
}

TEST(RoundActivations, StaticRangesComeWithTheModelOrAreMissed) {
  const Hparams h = test::small_hparams();
  const MapSource source = quantized(h, "int8:channel");
  ThreadPool pool(1);
  ActivationPlan plan{ActivationScheme::parse("int8:static"), {}, {}};
  EXPECT_THROW(build(source, h, pool, &plan), Error);
  for (int l = 0; l < 2; ++l) {
    for (const char* stem : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
      plan.ranges[fmt::format("blk.{}.{}", l, stem)] = {-8, 8};
  }
  const auto exact = logits(build(source, h, pool, nullptr), pool);
  EXPECT_LT(distance(logits(build(source, h, pool, &plan), pool), exact), 0.1);
  for (auto& [name, range] : plan.ranges) range = {-0.1f, 0.1f};
  EXPECT_GT(distance(logits(build(source, h, pool, &plan), pool), exact), 0.5) << "clipped";
}

TEST(ActivationNote, ComesBackAsItWasWritten) {
  ActivationPlan plan{ActivationScheme::parse("int8:static:asym"), {"*ffn_down", "blk.0.*"}, {}};
  plan.ranges["blk.0.attn_q"] = {-1.25f, 3.1f};
  plan.ranges["blk.1.ffn_up"] = {0, 1e-3f};
  const ActivationPlan back = read_activation_note(activation_note(plan));
  EXPECT_EQ(back.scheme.to_string(), "int8:static:asym");
  EXPECT_EQ(back.keep, plan.keep);
  ASSERT_EQ(back.ranges.size(), 2u);
  EXPECT_EQ(back.ranges.at("blk.0.attn_q").high, 3.1f);
  EXPECT_EQ(read_activation_note(R"({"scheme": "int8"})").ranges.size(), 0u);
  const std::vector<std::string> turned{"blk.0.ffn_down"};
  EXPECT_EQ(activation_note({ActivationScheme::parse("float"), {}, {}}, turned),
            R"({"scheme":"float","turned":["blk.0.ffn_down"]})");
  EXPECT_EQ(read_activation_note(activation_note(plan, turned)).ranges.size(), 2u);
  for (const char* bad :
       {"", "[]", "{}", R"({"scheme": 8})", R"({"scheme": "int9"})", R"({"scheme": "int8", "keep": "x"})",
        R"({"scheme": "int8", "keep": [1]})", R"({"scheme": "int8", "turned": "x"})",
        R"({"scheme": "int8", "ranges": []})", R"({"scheme": "int8", "ranges": {"a": [1]}})",
        R"({"scheme": "int8", "ranges": {"a": [1, "b"]}})", R"({"scheme": "int8", "ranges": {"a": [2, 1]}})",
        R"({"scheme": "int8", "ranges": {"a": [0, 1e999]}})"})
    EXPECT_THROW(read_activation_note(bad), Error) << bad;
}

TEST(RoundActivations, NanIsReportedByTheNodeThatMakesIt) {
  const Hparams h = test::small_hparams();
  MapSource source = quantized(h, "int8:channel");
  std::vector<float> gain(static_cast<size_t>(h.hidden), 1.0f);
  gain[3] = NAN;
  source.set("blk.1.ffn_norm.weight", {h.hidden}, gain);
  ThreadPool pool(1);
  const ActivationPlan plan{ActivationScheme::parse("int8"), {}, {}};
  const Program program = build(source, h, pool, &plan);
  try {
    logits(program, pool);
    FAIL() << "NaN went through";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("blk.1.ffn_norm"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace nibble
