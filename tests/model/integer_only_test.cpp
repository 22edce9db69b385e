// Whole models in whole numbers. The golden checkpoints hold every architecture.
#include "model/rewrites/integer_only.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "model/activation_note.h"
#include "model/executor.h"
#include "model/load.h"
#include "ops/integer/to_floats.h"
#include "quantized_model.h"
#include "support/data.h"

namespace nibble {
namespace {

const ActivationPlan integer_only{ActivationScheme::parse("integer-only"), {}, {}};

std::filesystem::path goldens() { return test::source_dir() / "tests/data/goldens/arch"; }

std::vector<float> outputs(const Program& program, std::span<const int32_t> ids, ThreadPool& pool,
                           size_t step = 1000) {
  Executor executor(program, pool);
  std::vector<float> all;
  const auto keep = [&](std::span<const float> y) { all.insert(all.end(), y.begin(), y.end()); };
  if (program.encoder) {
    keep(executor.encode(ids));
    return all;
  }
  KvCache cache = program.cache(static_cast<int64_t>(ids.size()));
  for (size_t at = 0; at < ids.size(); at += step)
    keep(executor.run(ids.subspan(at, std::min(step, ids.size() - at)), cache, Want::all));
  return all;
}

/// Mean Kullback-Leibler divergence of rows of logits, in nats.
double divergence(const std::vector<float>& exact, const std::vector<float>& other, int64_t vocab) {
  const auto log_softmax = [&](const float* x) {
    const double most = *std::max_element(x, x + vocab);
    double total = 0;
    for (int64_t i = 0; i < vocab; ++i) total += std::exp(x[i] - most);
    std::vector<double> y;
    for (int64_t i = 0; i < vocab; ++i) y.push_back(x[i] - most - std::log(total));
    return y;
  };
  double sum = 0;
  for (size_t row = 0; row < exact.size(); row += static_cast<size_t>(vocab)) {
    const auto p = log_softmax(exact.data() + row), q = log_softmax(other.data() + row);
    for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return sum * static_cast<double>(vocab) / static_cast<double>(exact.size());
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(d / size);
}

TEST(IntegerOnly, EveryArchitectureStaysNearItsFloats) {
  std::ifstream file(goldens() / "ids.txt");
  const std::vector<int32_t> ids{std::istream_iterator<int32_t>(file), {}};
  ASSERT_FALSE(ids.empty());
  ThreadPool pool(2);
  int decoders = 0, encoders = 0, experts = 0;
  for (const auto& folder : std::filesystem::directory_iterator(goldens())) {
    if (!folder.is_directory()) continue;
    const std::string name = folder.path().filename();
    const Checkpoint checkpoint = open_checkpoint(folder.path().string());
    const test::QuantizedCheckpoint weights(checkpoint, "int8:channel");
    const auto build = [&](const ActivationPlan* plan) {
      return build_program(checkpoint.arch(), checkpoint.hparams(), weights, pool, {.activations = plan});
    };
    experts += checkpoint.hparams().experts > 0;
    const Program program = build(&integer_only);
    for (const Node& node : program.nodes) EXPECT_EQ(node.op->integer, node.op != &to_floats_op) << node.name;
    EXPECT_EQ(program.nodes.back().op, &to_floats_op);
    const auto exact = outputs(build(nullptr), ids, pool), y = outputs(program, ids, pool);
    ASSERT_EQ(y.size(), exact.size()) << name;
    const double apart = distance(y, exact);
    double kl = 0;
    if (program.encoder) {
      ++encoders;
    } else {
      ++decoders;
      kl = divergence(exact, y, program.vocab);
    }
    std::printf("[          ] %-24s distance %.2e, divergence %.2e\n", name.c_str(), apart, kl);
    // Inputs of 7 bits and a sign are wrong by about half a percent each, two layers with nine products add
    // up.
    EXPECT_LT(apart, 0.06) << name;
    EXPECT_GT(apart, 1e-5) << name << ": nothing was rounded";
    EXPECT_LT(kl, 0.003) << name;
    EXPECT_EQ(outputs(program, ids, pool, 1), y) << name << ", token by token";
  }
  EXPECT_GE(decoders, 10);
  EXPECT_EQ(encoders, 2);
  EXPECT_GE(experts, 2);
}

TEST(IntegerOnly, TakesEveryFormatOfWholeNumbers) {
  Hparams h = test::small_hparams();
  h.ffn = 64;
  const std::vector<int32_t> ids{3, 14, 15, 9, 26, 5, 35, 8, 9, 7};
  ThreadPool pool(1);
  for (const char* format : {"int8:channel", "int8:g16", "int8:g8:asym", "int4:g32", "int4:channel:asym",
                             "int3:g16", "q8_0", "q4_0"}) {
    const auto source = test::quantized(test::random_weights(h), format);
    const auto exact = outputs(build_program(test::llama_like(), h, source, pool), ids, pool);
    const auto y = outputs(build_program(test::llama_like(), h, source, pool, {.activations = &integer_only}),
                           ids, pool);
    // Rounding activations to 8 bits is worth 0.022 to 0.031 here; codes read wrongly would be worth about 1.
    EXPECT_LT(distance(y, exact), 0.05) << format;
  }
}

TEST(IntegerOnly, GivesTheSameBitsAtEveryLevelThreadCountAndCut) {
  Hparams h = test::small_hparams();
  h.window = 20;
  h.window_every = 2;
  const auto source = test::quantized(test::random_weights(h), "int8:channel");
  std::vector<int32_t> ids(90);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7 % 50);
  const IsaLevel usual = isa_level();
  std::vector<float> first;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const int threads : {1, 2}) {
      ThreadPool pool(threads);
      const Program program =
          build_program(test::llama_like(), h, source, pool, {.activations = &integer_only});
      for (const size_t step : {90, 1, 37}) {
        const auto y = outputs(program, ids, pool, step);
        if (first.empty()) first = y;
        EXPECT_EQ(y, first) << isa_name(level) << " " << threads << " " << step;
      }
    }
  }
  set_isa_level(usual);
}

/// What building says.
Error refusal(const Hparams& h, const WeightSource& source, const ActivationPlan& plan,
              const ProgramPart& part = {}) {
  ThreadPool pool(1);
  try {
    build_program(test::llama_like(), h, source, pool, {.part = part, .activations = &plan});
  } catch (const Error& e) {
    return e;
  }
  return {ErrorKind::internal, "nothing was refused"};
}

TEST(IntegerOnly, SaysWhatItCannotDo) {
  const Hparams h = test::small_hparams();
  const auto source = test::quantized(test::random_weights(h), "int8:channel");
  const auto expect = [](const Error& e, ErrorKind kind, const char* part) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  };
  const Error floats = refusal(h, test::quantized(test::random_weights(h), "f16"), integer_only);
  expect(floats, ErrorKind::unsupported, "blk.0.attn_q reads blk.0.attn_q.weight, whose weights (f16)");
  EXPECT_NE(floats.hint().find("--to int8:channel"), std::string::npos);
  ActivationPlan keep = integer_only;
  keep.keep = {"*ffn_down"};
  expect(refusal(h, source, keep), ErrorKind::usage, "keeps no floats");
  expect(refusal(h, source, integer_only, ProgramPart::only_layer(1)), ErrorKind::unsupported, "part");

  auto bad = source;
  std::vector<float> gain(static_cast<size_t>(h.hidden), 1.0f);
  gain[3] = INFINITY;
  bad.set("blk.1.ffn_norm.weight", {h.hidden}, gain);
  expect(refusal(h, bad, integer_only), ErrorKind::bad_input, "blk.1.ffn_norm.weight");

  ThreadPool pool(1);
  const Program program = build_program(test::llama_like(), h, source, pool, {.activations = &integer_only});
  EXPECT_THROW(program.cache(8, "q8_0"), Error);
  Executor executor(program, pool);
  KvCache cache = program.cache(8);
  EXPECT_THROW(executor.run(std::vector<int32_t>{1, 50}, cache, Want::all), Error) << "no such token";
  EXPECT_EQ(cache.length(), 0);
}

TEST(IntegerOnly, KeepsNoMatrixAsFloats) {
  const Hparams h = test::small_hparams();
  const auto source = test::quantized(test::random_weights(h), "int8:channel");
  ThreadPool pool(1);
  ActivationReport report;
  const Program program =
      build_program(test::llama_like(), h, source, pool, {.activations = &integer_only, .report = &report});
  EXPECT_EQ(report.whole, 15);
  EXPECT_TRUE(report.kept.empty());
  for (const auto& w : program.weights) {
    if (w->matrix) {
      EXPECT_EQ(w->matrix->decoded(), nullptr) << w->name;
    }
  }
}

TEST(IntegerOnly, AFileCanAskForIt) {
  EXPECT_EQ(activation_note(integer_only), R"({"scheme":"integer-only"})");
  EXPECT_TRUE(read_activation_note(activation_note(integer_only)).scheme.integer_only);
  EXPECT_THROW(ActivationScheme::parse("integer-only:asym"), Error);
}

}  // namespace
}  // namespace nibble
