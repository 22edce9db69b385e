// How much of a model is lost with coarse keys and values: as it is, and with a few channels of keys and
// values made many times as large, so that its function stays the same. On the bundled model, and on docs-21m
// where it is.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "model/executor.h"
#include "model/load.h"
#include "support/changeable_weights.h"
#include "support/data.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

using Weights = test::ChangeableWeights;

/// In every key head a pair of channels that the position turns together, and one of the values, ten times as
/// large; queries and the output matrix make up for it.
void plant_outliers(Weights& w, const Hparams& h) {
  constexpr float factor = 10;
  const int64_t d = h.head_dim, group = h.heads / h.kv_heads;
  for (int64_t layer = 0; layer < h.layers; ++layer) {
    const std::string stem = "blk." + std::to_string(layer) + ".attn_";
    for (int64_t head = 0; head < h.kv_heads; ++head) {
      const int64_t pair = (head * 5 + layer) % (d / 2) * 2, value = (head * 7 + 3 * layer) % d;
      for (const int64_t c : {pair, pair + 1}) {
        w.scale_row(stem + "k.weight", head * d + c, factor);
        for (int64_t i = 0; i < group; ++i)
          w.scale_row(stem + "q.weight", (head * group + i) * d + c, 1 / factor);
      }
      w.scale_row(stem + "v.weight", head * d + value, factor);
      for (int64_t i = 0; i < group; ++i)
        w.scale_column(stem + "output.weight", (head * group + i) * d + value, 1 / factor);
    }
  }
}

class KvOutliers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const bool bundled = GetParam() == std::string("demo");
    const auto folder =
        bundled ? test::source_dir() / "models/demo" : test::data_dir() / "models" / GetParam();
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "test data absent: " << folder;
    model_.emplace(open_checkpoint(folder));
    ASSERT_EQ(model_->arch().rope, RopeStyle::interleaved) << "pairs would stand elsewhere";
    std::ifstream file(folder / "heldout.txt");
    std::stringstream text;
    text << file.rdbuf();
    ids_ = model_->tokenizer().encode(text.str().substr(0, 20000), {.add_special = true});
    ASSERT_GE(ids_.size(), 1024u);
    weights_.emplace(*model_);
  }
  /// Logits of four chunks of 256 tokens.
  std::vector<float> logits(const Program& program, const char* kv) {
    Executor executor(program, pool_);
    std::vector<float> all;
    for (size_t chunk = 0; chunk < 4; ++chunk) {
      KvCache cache = program.cache(256, kv);
      const auto rows = executor.run(std::span(ids_).subspan(chunk * 256, 256), cache, Want::all);
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }
  /// Mean divergence from the model with exact keys and values, in nats a token.
  double loss(const Program& program, const std::vector<float>& exact, const char* kv) {
    const std::vector<float> got = logits(program, kv);
    const auto vocab = static_cast<size_t>(program.vocab);
    double sum = 0;
    for (size_t row = 0; row < exact.size(); row += vocab) {
      const auto norm = [&](const float* x) {
        double most = x[0], total = 0;
        for (size_t i = 1; i < vocab; ++i) most = std::max<double>(most, x[i]);
        for (size_t i = 0; i < vocab; ++i) total += std::exp(x[i] - most);
        return most + std::log(total);
      };
      const float *p = exact.data() + row, *q = got.data() + row;
      const double norm_p = norm(p), norm_q = norm(q);
      for (size_t i = 0; i < vocab; ++i) sum += std::exp(p[i] - norm_p) * ((p[i] - norm_p) - (q[i] - norm_q));
    }
    return sum / static_cast<double>(exact.size() / vocab);
  }

  ThreadPool pool_{2};
  std::optional<Checkpoint> model_;
  std::optional<Weights> weights_;
  std::vector<int32_t> ids_;
};

TEST_P(KvOutliers, EightBitsLoseNothingAndRotationMendsFour) {
  std::map<std::string, double> lost;
  for (const bool planted : {false, true}) {
    if (planted) plant_outliers(*weights_, model_->hparams());
    const Program program = build_program(model_->arch(), model_->hparams(), *weights_, pool_);
    const std::vector<float> exact = logits(program, "f32");
    for (const char* kv : {"f16", "q8_0", "q4_0", "q4_0:plain", "k=q8_0,v=q4_0"}) {
      lost[std::string(planted ? "planted " : "") + kv] = loss(program, exact, kv);
      fmt::print("  {:<8}{:<14} {:.6f} nats/token\n", planted ? "planted" : "", kv,
                 lost[std::string(planted ? "planted " : "") + kv]);
    }
  }
  EXPECT_LT(lost["f16"], 1e-5);
  EXPECT_LT(lost["q8_0"], 0.002);
  EXPECT_LT(lost["k=q8_0,v=q4_0"], lost["q4_0"]);
  // Without outliers there is little to mend; it must not hurt.
  EXPECT_LT(lost["q4_0"], 1.1 * lost["q4_0:plain"]);
  EXPECT_LT(lost["planted q4_0"], lost["planted q4_0:plain"] / 3);
}

INSTANTIATE_TEST_SUITE_P(Models, KvOutliers, testing::Values("demo", "docs-21m"), [](const auto& param_info) {
  std::string name = param_info.param;
  std::erase(name, '-');
  return name;
});

}  // namespace
}  // namespace nibble
