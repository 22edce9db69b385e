#include "pipeline/job.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::MadeModel;

Recipe recipe(const std::string& type) {
  Recipe r;
  r.type = type;
  return r;
}

class JobTest : public testing::Test {
 protected:
  Checkpoint source(const MadeModel& m = {}) {
    const std::string folder = scratch_.file("source-" + std::to_string(made_++));
    test::make_checkpoint(folder, m);
    return open_checkpoint(folder);
  }
  /// Quantizes into a folder and gives the bytes of its safetensors file.
  std::string quantize(const Checkpoint& c, const Recipe& r, int threads, const std::string& name) {
    ThreadPool pool(threads);
    Progress silent(Progress::Style::silent);
    const QuantizationPlan plan = plan_quantization(c, Target::huggingface, r);
    run_job(plan, {scratch_.file(name), false}, pool, silent);
    return test::file_bytes(scratch_.path() / name / "model.safetensors");
  }
  std::string error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& e) {
      return std::string(e.what()) + "\n" + e.hint();
    }
    return {};
  }

  test::Scratch scratch_;
  int made_ = 0;
};

TEST_F(JobTest, BytesDoNotDependOnThreads) {
  const Checkpoint c = source();
  for (const char* word :
       {"q4_k_m", "int4:g128:asym", "int8:tensor", "nf4:b64:dq", "kmeans16:tensor", "q6_k", "bf16"}) {
    const std::string one = quantize(c, recipe(word), 1, "one");
    ASSERT_FALSE(one.empty());
    for (const int threads : {2, 3, 8})
      EXPECT_TRUE(quantize(c, recipe(word), threads, "more") == one) << word << " " << threads;
  }
}

TEST_F(JobTest, WindowsGiveWhatTheWholeTensorGives) {
  MadeModel m;
  m.vocab = 5000;  // more rows than one window holds
  const Checkpoint c = source(m);
  for (const char* word : {"int4:g128", "nf4:b64:dq", "int8:tensor:minmax", "q4_k"}) {
    Recipe r = recipe(word);
    r.pure = true;
    quantize(c, r, 2, word);
    const Checkpoint out = open_checkpoint(scratch_.file(word));
    const CanonicalTensor& t = out.at("token_embd.weight");
    EXPECT_EQ(t.format, format_of(word).spec());
    std::vector<float> x(static_cast<size_t>(t.shape.elements())), got(x.size()), expected(x.size());
    c.read_rows(c.at(t.name), 0, t.shape.rows(), x.data());
    out.read_rows(t, 0, t.shape.rows(), got.data());
    decode_range(encode_nearest(format_of(word), t.shape, x), 0, t.shape.elements(), expected.data());
    EXPECT_TRUE(got == expected) << word;
  }
}

TEST_F(JobTest, LedgerHoldsEverySourceTensorOnce) {
  const Checkpoint c = source();
  Recipe r = recipe("int4:g128");
  r.overrides = {{"lm_head", "int8:channel"}, {"*norm*", "keep"}, {"*.v_proj", "keep"}};
  const QuantizationPlan plan = plan_quantization(c, Target::huggingface, r);
  std::set<std::string> seen;
  for (const LedgerLine& l : plan.ledger.lines) {
    EXPECT_TRUE(seen.insert(l.source).second) << l.source;
    if (l.source == "lm_head.weight") {
      EXPECT_EQ(l.to, format_of("int8:channel").spec().to_string());
      EXPECT_EQ(l.reason, "matches 'lm_head'");
    } else if (l.source.find("norm") != std::string::npos || l.source.find("v_proj") != std::string::npos) {
      EXPECT_EQ(l.fate, Fate::kept) << l.source;
    } else {
      EXPECT_EQ(l.fate, Fate::quantized) << l.source;
    }
  }
  for (const StoredTensor& t : c.file().tensors()) EXPECT_TRUE(seen.count(t.name)) << t.name;
}

TEST_F(JobTest, MisfitsAreErrorsThatNameTensorsAndChoices) {
  MadeModel m;
  m.hidden = 320;
  m.ffn = 256;
  const Checkpoint c = source(m);
  const std::string message = error_of([&] { plan_quantization(c, Target::huggingface, recipe("q4_k")); });
  EXPECT_NE(message.find("self_attn.q_proj"), std::string::npos) << message;
  EXPECT_NE(message.find("320"), std::string::npos) << message;
  EXPECT_NE(message.find("q8_0"), std::string::npos) << message;
  EXPECT_NE(message.find("--allow-substitution"), std::string::npos) << message;

  Recipe r = recipe("q4_k_s");
  r.allow_substitution = true;
  const QuantizationPlan plan = plan_quantization(c, Target::huggingface, r);
  int substituted = 0;
  for (const LedgerLine& l : plan.ledger.lines) {
    if (l.fate != Fate::substituted) continue;
    ++substituted;
    EXPECT_NE(l.asked, l.to);
    EXPECT_FALSE(l.reason.empty());
  }
  EXPECT_GT(substituted, 10);
}

TEST_F(JobTest, MistakesInTheRecipeAreNamed) {
  const Checkpoint c = source();
  EXPECT_NE(error_of([&] { plan_quantization(c, Target::huggingface, recipe("q4_k_x")); }).find("q4_k"),
            std::string::npos);
  Recipe r = recipe("q8_0");
  r.overrides = {{"no.such.tensor", "q4_0"}};
  EXPECT_NE(error_of([&] { plan_quantization(c, Target::huggingface, r); }).find("no.such.tensor"),
            std::string::npos);
  EXPECT_NE(error_of([&] { plan_quantization(c, Target::gguf, recipe("nf4:b64")); }).find("GGUF cannot hold"),
            std::string::npos);
  r = recipe("q8_0");
  r.solver = "magic";
  EXPECT_NE(error_of([&] { plan_quantization(c, Target::huggingface, r); }).find("nearest"),
            std::string::npos);
}

TEST_F(JobTest, AQuantizedSourceIsNotRoundedTwiceUnasked) {
  const Checkpoint c = source();
  quantize(c, recipe("int8:channel"), 2, "eight");
  const Checkpoint eight = open_checkpoint(scratch_.file("eight"));
  EXPECT_NE(error_of([&] {
              plan_quantization(eight, Target::huggingface, recipe("int4:g128"));
            }).find("already quantized"),
            std::string::npos);
  Recipe r = recipe("int4:g128");
  r.allow_requantize = true;
  EXPECT_NO_THROW(plan_quantization(eight, Target::huggingface, r));
  // The same format again is a copy.
  const std::string again = quantize(eight, recipe("int8:channel"), 1, "again");
  EXPECT_TRUE(again == test::file_bytes(scratch_.path() / "eight" / "model.safetensors"));
}

TEST_F(JobTest, NotANumberIsReportedByName) {
  MadeModel m;
  m.poison = "model.layers.1.mlp.up_proj.weight";
  const Checkpoint c = source(m);
  const std::string message = error_of([&] { quantize(c, recipe("q8_0"), 2, "never"); });
  EXPECT_NE(message.find(m.poison + " holds NaN at row"), std::string::npos) << message;
  for (const char* end : {"", ".partial", ".journal"})
    EXPECT_FALSE(fs::exists(scratch_.path() / "never" / ("model.safetensors" + std::string(end)))) << end;
}

/// Rounds as another does until someone stops it.
class Stopped final : public Solver {
 public:
  Stopped(const Solver& other, int windows) : other_(other), left_(windows) {}
  std::string_view name() const noexcept override { return other_.name(); }
  void solve(const Window& window, const Prepared* prepared) const override {
    if (left_-- <= 0) throw Error(ErrorKind::interrupted, "stopped");
    other_.solve(window, prepared);
  }

 private:
  const Solver& other_;
  mutable std::atomic<int> left_;
};

TEST_F(JobTest, AnInterruptedJobGoesOnWhereItStopped) {
  MadeModel m;
  m.layers = 8;
  const Checkpoint first = source(m);
  QuantizationPlan plan = plan_quantization(first, Target::huggingface, recipe("q8_0"));
  const Stopped stopped(*plan.solver, 40);
  plan.solver = &stopped;
  ThreadPool pool(1);
  Progress silent(Progress::Style::silent);
  EXPECT_THROW(run_job(plan, {scratch_.file("out")}, pool, silent), Error);
  ASSERT_TRUE(fs::exists(scratch_.path() / "out" / "model.safetensors.partial"));
  ASSERT_TRUE(fs::exists(scratch_.path() / "out" / "model.safetensors.journal"));
  fs::copy(scratch_.path() / "out", scratch_.path() / "other");
  fs::copy(scratch_.path() / "out", scratch_.path() / "ordered");

  plan = plan_quantization(first, Target::huggingface, recipe("q8_0"));
  EXPECT_GT(run_job(plan, {scratch_.file("out")}, pool, silent).resumed, 0u);
  EXPECT_TRUE(test::file_bytes(scratch_.path() / "out" / "model.safetensors") ==
              quantize(first, recipe("q8_0"), 2, "straight"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "out" / "model.safetensors.partial"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "out" / "model.safetensors.journal"));

  // What tells the solver something else is another job.
  Recipe ordered = recipe("q8_0");
  ordered.options.act_order = true;
  plan = plan_quantization(first, Target::huggingface, ordered);
  EXPECT_EQ(run_job(plan, {scratch_.file("ordered")}, pool, silent).resumed, 0u);

  // So is another source: nothing of the old one may survive in its bytes.
  m.seed = 2;
  const Checkpoint second = source(m);
  const std::string resumed = quantize(second, recipe("q8_0"), 2, "other");
  EXPECT_TRUE(resumed == quantize(second, recipe("q8_0"), 1, "straight"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "other" / "model.safetensors.partial"));
}

TEST_F(JobTest, PreflightKnowsTheSizeAndRefusesAFullDisk) {
  const Checkpoint c = source();
  const QuantizationPlan plan = plan_quantization(c, Target::huggingface, recipe("int4:g128"));
  Preflight p = preflight(plan, scratch_.file("out"), 2);
  EXPECT_GT(p.disk_free, 0u);
  EXPECT_NEAR(p.bits_per_weight, 4.125, 0.1);
  p.disk_free = p.bytes_out - 1;
  EXPECT_THROW(require_disk(p, "out", 0), Error);
  EXPECT_NO_THROW(require_disk(p, "out", 1));
}

}  // namespace
}  // namespace nibble
