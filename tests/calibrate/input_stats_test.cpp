// What is collected of the inputs of matrices, against sums in double of what the whole model shows.
#include "calibrate/input_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "calibrate/made_models.h"
#include "kernels/isa.h"
#include "model/executor.h"
#include "model/load.h"
#include "support/keep_level.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::made_checkpoint;
using test::made_sequences;
using test::thrown_by;

/// Sums in double, one row after the other.
struct Reference final : InputObserver {
  struct Input {
    int64_t rows = 0, cols = 0;
    std::vector<double> sum, sum2, hessian, magnitude;  ///< magnitude: of the terms of the Hessian
    std::vector<float> min, max;
  };
  std::map<std::pair<std::string, int64_t>, Input> inputs;
  std::set<std::pair<std::string, int64_t>> seen;  ///< in this sequence: parts of one matrix read the same

  void see(const Node&, const Weight& weight, int64_t slice, const Value& x) override {
    if (!seen.insert({weight.name, slice}).second) return;
    Input& in = inputs[{weight.name, slice}];
    const auto n = static_cast<size_t>(x.cols);
    if (in.rows == 0) {
      in.cols = x.cols;
      in.sum.resize(n), in.sum2.resize(n), in.hessian.resize(n * n), in.magnitude.resize(n * n);
      in.min.assign(n, INFINITY), in.max.assign(n, -INFINITY);
    }
    in.rows += x.rows;
    for (int64_t r = 0; r < x.rows; ++r) {
      const float* row = x.row(r);
      for (size_t i = 0; i < n; ++i) {
        in.sum[i] += double{row[i]};
        in.sum2[i] += double{row[i]} * row[i];
        in.min[i] = std::min(in.min[i], row[i]);
        in.max[i] = std::max(in.max[i], row[i]);
        for (size_t j = 0; j < n; ++j) {
          in.hessian[i * n + j] += double{row[i]} * row[j];
          in.magnitude[i * n + j] += std::fabs(double{row[i]} * row[j]);
        }
      }
    }
  }
};

Reference reference(const Checkpoint& model, const std::vector<Sequence>& sequences) {
  ThreadPool pool(2);
  const Program program = load_program(model, pool);
  Executor executor(program, pool);
  Reference r;
  for (const Sequence& s : sequences) {
    r.seen.clear();
    executor.run_part(s, {}, &r);
  }
  return r;
}

/// By layer, the last: the head.
std::vector<std::vector<InputStats>> collect(const Checkpoint& model, const std::vector<Sequence>& sequences,
                                             int threads, const std::string& file) {
  ThreadPool pool(threads);
  LayerWalk walk(model, sequences, file, pool);
  std::vector<std::vector<InputStats>> parts;
  for (int64_t part = 0; part < walk.parts(); ++part) {
    Collector collector({.hessian = true}, pool);
    walk.observe(part, collector, [] {});
    parts.push_back(collector.take());
  }
  walk.remove();
  return parts;
}

class Collected : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { model_.emplace(made_checkpoint(GetParam(), scratch_.path() / "model")); }
  test::Scratch scratch_;
  std::optional<Checkpoint> model_;
  std::vector<Sequence> sequences_ = made_sequences(5, 70);
};

TEST_P(Collected, EqualsSumsInDouble) {
  const Reference expected = reference(*model_, sequences_);
  std::set<std::pair<std::string, int64_t>> told;
  for (const auto& part : collect(*model_, sequences_, 2, scratch_.file("hidden"))) {
    for (const InputStats& s : part) {
      for (const std::string& reader : s.readers) {
        SCOPED_TRACE(reader + " " + std::to_string(s.slice));
        EXPECT_TRUE(told.insert({reader, s.slice}).second);
        const Reference::Input& r = expected.inputs.at({reader, s.slice});
        ASSERT_EQ(s.rows, r.rows);
        ASSERT_EQ(s.cols, r.cols);
        EXPECT_TRUE(s.sum == r.sum);
        EXPECT_TRUE(s.sum2 == r.sum2);
        EXPECT_TRUE(s.min == r.min);
        EXPECT_TRUE(s.max == r.max);
        ASSERT_EQ(s.hessian.size(), r.hessian.size());
        for (size_t i = 0; i < r.hessian.size(); ++i) {
          // As many additions as there are tokens, each off by half a unit of f32 at most.
          ASSERT_NEAR(double{s.hessian[i]}, r.hessian[i],
                      static_cast<double>(r.rows + 5) * 0x1p-24 * r.magnitude[i] + 1e-30)
              << i;
        }
        const std::vector<float> importance = s.importance();
        for (size_t i = 0; i < importance.size(); ++i)
          ASSERT_FLOAT_EQ(importance[i], static_cast<float>(r.sum2[i] / static_cast<double>(r.rows)));
      }
    }
  }
  for (const auto& [key, input] : expected.inputs) EXPECT_TRUE(told.count(key)) << key.first;
}

TEST_P(Collected, SameBitsForEveryThreadCountAndLevel) {
  const test::KeepLevel keep;
  std::vector<std::vector<InputStats>> expected;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const int threads : {1, 2, 3}) {
      const auto got = collect(*model_, sequences_, threads, scratch_.file("hidden"));
      if (expected.empty()) expected = got;
      ASSERT_EQ(got.size(), expected.size());
      for (size_t p = 0; p < got.size(); ++p) {
        ASSERT_EQ(got[p].size(), expected[p].size());
        for (size_t i = 0; i < got[p].size(); ++i) {
          const InputStats &a = got[p][i], &b = expected[p][i];
          ASSERT_TRUE(a.readers == b.readers && a.rows == b.rows && a.sum == b.sum && a.sum2 == b.sum2 &&
                      a.min == b.min && a.max == b.max && a.hessian == b.hessian)
              << a.readers.front() << " on " << isa_name(level) << " with " << threads << " threads";
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Collected, testing::Values("llama", "mixtral", "gptneox"),
                         [](const auto& of) { return std::string(of.param); });

std::vector<std::vector<std::string>> groups(const std::string& name) {
  const test::Scratch scratch;
  const Checkpoint model = made_checkpoint(name, scratch.path() / "model");
  std::vector<std::vector<std::string>> all;
  const auto parts = collect(model, made_sequences(3, 60), 2, scratch.file("hidden"));
  for (const InputStats& s : parts.front()) {
    all.push_back(s.readers);
    all.back().push_back(std::to_string(s.slice));
  }
  return all;
}

using Groups = std::vector<std::vector<std::string>>;

TEST(Collector, MatricesThatReadTheSameValueShareOneEntry) {
  EXPECT_EQ(groups("llama"),
            (Groups{{"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "0"},
                    {"blk.0.attn_output.weight", "0"},
                    {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "0"},
                    {"blk.0.ffn_down.weight", "0"}}));
  // One matrix for queries, keys and values counts once; the other half of the layer has its own norm.
  EXPECT_EQ(groups("gptneox"), (Groups{{"blk.0.attn_qkv.weight", "0"},
                                       {"blk.0.attn_output.weight", "0"},
                                       {"blk.0.ffn_up.weight", "0"},
                                       {"blk.0.ffn_down.weight", "0"}}));
}

TEST(Collector, ExpertsHaveEntriesOfTheirOwn) {
  Groups got = groups("mixtral");
  Groups expected{{"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "0"},
                  {"blk.0.attn_output.weight", "0"},
                  {"blk.0.ffn_gate_inp.weight", "0"}};
  for (const char* e : {"0", "1", "2", "3"}) {
    expected.push_back({"blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", e});
    expected.push_back({"blk.0.ffn_down_exps.weight", e});
  }
  std::sort(got.begin(), got.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(got, expected);
}

InputStats stats_of(std::vector<float> x, int64_t rows, bool hessian = true) {
  ThreadPool pool(1);
  InputStats s;
  s.readers = {"blk.7.ffn_down.weight"};
  add_rows(s, {x.data(), rows, static_cast<int64_t>(x.size()) / rows}, {.hessian = hessian}, pool);
  finish_stats(s, pool);
  return s;
}

TEST(InputStats, SmallSumsByHand) {
  const InputStats s = stats_of({1, -2, 3, 4}, 2);
  EXPECT_EQ(s.rows, 2);
  EXPECT_EQ(s.sum, (std::vector<double>{4, 2}));
  EXPECT_EQ(s.sum2, (std::vector<double>{10, 20}));
  EXPECT_EQ(s.min, (std::vector<float>{1, -2}));
  EXPECT_EQ(s.max, (std::vector<float>{3, 4}));
  EXPECT_EQ(s.hessian, (std::vector<float>{10, 10, 10, 20}));
  EXPECT_EQ(s.importance(), (std::vector<float>{5, 10}));
  EXPECT_TRUE(stats_of({1, 2}, 1, false).hessian.empty());
  EXPECT_TRUE(InputStats{}.importance().empty());
}

TEST(InputStats, TwoSlicesAddUpToThoseOfAllRows) {
  InputStats sum = stats_of({1, -2, 3, 4}, 2);
  add_stats(sum, stats_of({5, 6}, 1));
  const InputStats all = stats_of({1, -2, 3, 4, 5, 6}, 3);
  EXPECT_EQ(sum.rows, 3);
  EXPECT_EQ(sum.sum, all.sum);
  EXPECT_EQ(sum.sum2, all.sum2);
  EXPECT_EQ(sum.min, all.min);
  EXPECT_EQ(sum.max, all.max);
  EXPECT_EQ(sum.hessian, all.hessian);
  InputStats from_nothing;
  from_nothing.slice = 3;
  add_stats(from_nothing, sum);
  EXPECT_EQ(from_nothing.slice, 3);
  EXPECT_EQ(from_nothing.hessian, sum.hessian);
  add_stats(from_nothing, InputStats{});
  EXPECT_EQ(from_nothing.rows, 3);
}

TEST(InputStats, NotANumberIsNamed) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const auto e = thrown_by([&] { stats_of({1, 2, 3, 4, 5, bad}, 2); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input);
    EXPECT_TRUE(e.says("blk.7.ffn_down.weight")) << e.message;
    EXPECT_TRUE(e.says("channel 2 at token 1")) << e.message;
    EXPECT_TRUE(e.says(std::isnan(bad) ? "NaN" : "infinity")) << e.message;
    EXPECT_FALSE(e.hint.empty());
  }
}

}  // namespace
}  // namespace nibble
