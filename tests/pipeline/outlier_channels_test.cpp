// A model with a few channels of up to a hundred times their size, planted so that its function stays the
// same: activations of 8 bits break it, and each remedy mends it. On the bundled model, and on docs-21m where
// it is.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "base/rng.h"
#include "methods/transforms/channel_scales.h"
#include "methods/transforms/rotation.h"
#include "methods/transforms/smoothquant.h"
#include "model/checkpoint.h"
#include "model/executor.h"
#include "model/rewrites/activations.h"
#include "model/scalable_inputs.h"
#include "support/changeable_weights.h"
#include "support/data.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

using Weights = test::ChangeableWeights;

/// The largest magnitude of each channel of what matrices read.
struct Maxima final : InputObserver {
  std::map<std::string, std::vector<float>> by_reader;

  void see(const Node&, const Weight& weight, int64_t, const Value& x) override {
    std::vector<float>& m = by_reader[weight.name];
    m.resize(static_cast<size_t>(x.cols));
    raise_column_maxima({x.data, static_cast<size_t>(x.rows * x.cols)}, m);
  }
};

class OutlierChannels : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const bool bundled = GetParam() == std::string("demo");
    const auto folder =
        bundled ? test::source_dir() / "models/demo" : test::data_dir() / "models" / GetParam();
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "test data absent: " << folder;
    model_.emplace(open_checkpoint(folder));
    std::ifstream file(folder / "heldout.txt");
    std::stringstream text;
    text << file.rdbuf();
    ids_ = model_->tokenizer().encode(text.str().substr(0, 6000), {.add_special = true});
    ids_.resize(512);
    plain_ = std::make_unique<Weights>(*model_);
    exact_ = logits(*plain_, nullptr);
  }

  Program build(const Weights& w, const ActivationPlan* plan) {
    return build_program(model_->arch(), model_->hparams(), w, pool_, {.activations = plan});
  }
  std::vector<float> logits(const Weights& w, const ActivationPlan* plan) {
    const Program program = build(w, plan);
    Executor executor(program, pool_);
    std::vector<float> all;
    for (size_t begin = 0; begin < ids_.size(); begin += 256) {
      KvCache cache = program.cache(256);
      const auto rows = executor.run(std::span(ids_).subspan(begin, 256), cache, Want::all);
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }
  /// Mean KL divergence from the model as it was, nats a token.
  double divergence(const std::vector<float>& y) const {
    const size_t cols = y.size() / ids_.size();
    double sum = 0;
    for (size_t row = 0; row < y.size(); row += cols) {
      double p_total = 0, q_total = 0;
      const auto p_top = double{*std::max_element(exact_.begin() + row, exact_.begin() + row + cols)};
      const auto q_top = double{*std::max_element(y.begin() + row, y.begin() + row + cols)};
      for (size_t c = row; c < row + cols; ++c) {
        p_total += std::exp(exact_[c] - p_top);
        q_total += std::exp(y[c] - q_top);
      }
      const double p_log = p_top + std::log(p_total), q_log = q_top + std::log(q_total);
      for (size_t c = row; c < row + cols; ++c)
        sum += std::exp(exact_[c] - p_log) * ((exact_[c] - p_log) - (y[c] - q_log));
    }
    return sum / static_cast<double>(ids_.size());
  }
  double divergence(const Weights& w, const char* activations = nullptr) {
    if (activations == nullptr) return divergence(logits(w, nullptr));
    const ActivationPlan plan{ActivationScheme::parse(activations), {}, {}};
    return divergence(logits(w, &plan));
  }

  /// Divides what is read by `scale`.
  static void rescale(Weights& w, const ScalableInput& input, std::span<const float> scale) {
    for (const std::string& reader : input.readers) multiply_columns(w.values.at(reader), scale);
    std::vector<float>& maker = w.values.at(input.maker);
    const size_t cols = maker.size() / static_cast<size_t>(w.shapes.at(input.maker).rank() > 1
                                                               ? w.shapes.at(input.maker)[0]
                                                               : static_cast<int64_t>(maker.size()));
    divide_rows(std::span(maker).subspan(static_cast<size_t>(input.maker_row) * cols, scale.size() * cols),
                scale);
  }

  /// Six channels of each norm's output, 20 to 100 times as large.
  Weights planted() {
    Weights w = *plain_;
    Rng rng(11);
    for (const ScalableInput& input : scalable_inputs(build(w, nullptr))) {
      if (input.maker.find("norm") == std::string::npos || input.maker == "output_norm.weight") continue;
      std::vector<float> scale(static_cast<size_t>(input.cols), 1.0f);
      for (int i = 0; i < 6; ++i)
        scale[rng.below(scale.size())] = static_cast<float>(1 / (20 + 80 * rng.uniform()));
      rescale(w, input, scale);
    }
    return w;
  }

  void smooth(Weights& w, double strength) {
    const Program program = build(w, nullptr);
    Maxima maxima;
    Executor executor(program, pool_);
    executor.run_part(std::span(ids_).first(256), {}, &maxima);
    for (const ScalableInput& input : scalable_inputs(program)) {
      std::vector<float> columns(static_cast<size_t>(input.cols));
      for (const std::string& reader : input.readers) raise_column_maxima(w.values.at(reader), columns);
      rescale(w, input, smooth_scales(maxima.by_reader.at(input.readers.front()), columns, strength));
    }
  }

  /// Turns the residual stream of a model with RMS norms.
  void rotate(Weights& w) {
    const int64_t hidden = model_->hparams().hidden;
    const Rotation turn(hidden, 1);
    for (const ScalableInput& input : scalable_inputs(build(w, nullptr))) {
      if (input.maker.find("norm") == std::string::npos) continue;
      rescale(w, input, std::vector<float>(w.values.at(input.maker)));  // leaves a gain of ones
      for (const std::string& reader : input.readers) turn.turn_rows(w.values.at(reader), pool_);
    }
    turn.turn_rows(w.values.at("token_embd.weight"), pool_);
    for (auto& [name, x] : w.values) {
      if (name.find("attn_output.weight") != std::string::npos ||
          name.find("ffn_down.weight") != std::string::npos)
        turn.turn_columns(x, pool_);
    }
  }

  ThreadPool pool_{2};
  std::optional<Checkpoint> model_;
  std::vector<int32_t> ids_;
  std::unique_ptr<Weights> plain_;
  std::vector<float> exact_;
};

TEST_P(OutlierChannels, BreakRoundedActivationsAndAreMended) {
  Weights w = planted();
  EXPECT_LT(divergence(w), 1e-6) << "planting changed the function";
  const double before = divergence(*plain_, "int8");
  const double broken = divergence(w, "int8");
  const double tensor = divergence(w, "int8:tensor");
  EXPECT_LT(before, 0.01);
  EXPECT_GT(broken, 0.05);
  EXPECT_GT(tensor, 0.05);

  const double split = divergence(w, "int8:outliers=6");
  EXPECT_LT(split, 0.01);

  Weights smoothed = w;
  smooth(smoothed, 0.5);
  EXPECT_LT(divergence(smoothed), 1e-6) << "migration changed the function";
  const double migrated = divergence(smoothed, "int8");
  EXPECT_LT(migrated, 0.01);

  Weights turned = w;
  rotate(turned);
  EXPECT_LT(divergence(turned), 1e-6) << "rotation changed the function";
  const double rotated = divergence(turned, "int8");
  EXPECT_LT(rotated, 0.01);

  // With weights of 8 bits a row as well, and products of whole numbers.
  w.format = smoothed.format = turned.format = "int8:channel";
  const double whole_broken = divergence(w, "int8"), whole_migrated = divergence(smoothed, "int8");
  const double whole_rotated = divergence(turned, "int8");
  EXPECT_GT(whole_broken, 0.05);
  EXPECT_LT(whole_migrated, 0.01);
  EXPECT_LT(whole_rotated, 0.01);

  const double four_bits = divergence(w, "int4"), four_rotated = divergence(turned, "int4");
  EXPECT_LT(four_rotated, four_bits / 4);
  fmt::print(
      "{}: int8 {:.4f}; planted {:.4f}, a tensor {:.4f}; outliers=6 {:.4f}, smoothed {:.4f}, rotated {:.4f}; "
      "int8:channel weights: planted {:.4f}, smoothed {:.4f}, rotated {:.4f}; int4 activations: {:.3f}, "
      "rotated {:.3f}\n",
      GetParam(), before, broken, tensor, split, migrated, rotated, whole_broken, whole_migrated,
      whole_rotated, four_bits, four_rotated);
}

INSTANTIATE_TEST_SUITE_P(Models, OutlierChannels, testing::Values("demo", "docs-21m"), [](const auto& param) {
  return param.param[0] == 'd' && param.param[1] == 'e' ? "demo" : "docs";
});

}  // namespace
}  // namespace nibble
