// Statistics of the fastest products, where experts take turns: each counts the tokens it saw.
#include <gtest/gtest.h>

#include <cmath>

#include "calibrate/made_models.h"
#include "support/keep_level.h"
#include "support/scratch.h"

namespace nibble {
namespace {

class FastStats : public testing::Test {
 protected:
  std::vector<InputStats> of_layer(int64_t layer, Precision precision, int threads) {
    ThreadPool pool(threads);
    LayerWalk walk(model_, sequences_, scratch_.file("hidden"), pool, precision);
    Collector collector({.hessian = true, .precision = precision}, pool);
    walk.observe(layer, collector, [] {});
    walk.remove();
    return collector.take();
  }
  /// Of a matrix, all its experts together.
  static InputStats together(const std::vector<InputStats>& all, const std::string& reader) {
    InputStats sum;
    for (const InputStats& s : all) {
      if (s.readers.front() == reader) add_stats(sum, s);
    }
    return sum;
  }

  test::Scratch scratch_;
  Checkpoint model_ = test::made_checkpoint("mixtral", scratch_.path() / "model");
  const std::vector<Sequence> sequences_ = test::made_sequences(5, 60);
};

TEST_F(FastStats, OfExpertsCountEveryTokenAndAreNearTheExactOnes) {
  const auto exact = of_layer(0, Precision::exact, 2);
  const test::KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const auto fast = of_layer(0, Precision::fast, 2);
    for (const char* reader : {"blk.0.attn_q.weight", "blk.0.ffn_gate_inp.weight",
                               "blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight"}) {
      const InputStats a = together(exact, reader), b = together(fast, reader);
      // Two of four experts for each of 300 tokens; which ones may differ where the router hesitates.
      EXPECT_EQ(b.rows, std::string(reader).find("exps") == std::string::npos ? 300 : 600) << reader;
      ASSERT_EQ(b.hessian.size(), a.hessian.size()) << reader;
      double difference = 0, size = 0;
      for (size_t i = 0; i < a.hessian.size(); ++i) {
        difference += std::pow(double{a.hessian[i]} - b.hessian[i], 2);
        size += std::pow(double{a.hessian[i]}, 2);
      }
      // A token that goes to another expert has other values behind it, but the same before it.
      const bool behind = std::string(reader).find("ffn_down") != std::string::npos;
      EXPECT_LT(std::sqrt(difference / size), behind ? 0.06 : 0.006) << reader << " " << isa_name(level);
      // The diagonal and the importance tell the same of each channel.
      const auto n = static_cast<size_t>(b.cols);
      for (size_t c = 0; c < n; ++c)
        EXPECT_NEAR(double{b.hessian[c * n + c]}, b.sum2[c], 0.01 * b.sum2[c]) << reader << " " << c;
    }
  }
}

TEST_F(FastStats, OfExpertsDoNotDependOnThreads) {
  const auto expected = of_layer(1, Precision::fast, 1);
  ASSERT_EQ(expected.size(), 3u + 2 * 4);
  for (const int threads : {2, 3, 8}) {
    const auto got = of_layer(1, Precision::fast, threads);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].readers, expected[i].readers);
      EXPECT_EQ(got[i].slice, expected[i].slice);
      EXPECT_EQ(got[i].rows, expected[i].rows);
      EXPECT_EQ(got[i].sum2, expected[i].sum2);
      EXPECT_EQ(got[i].hessian, expected[i].hessian) << got[i].readers.front() << " " << threads;
    }
  }
}

}  // namespace
}  // namespace nibble
