#include "allocate/search.h"

#include <gtest/gtest.h>

#include "allocate/curve.h"
#include "pipeline/calibrate_job.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

class SearchTest : public testing::Test {
 protected:
  SearchTest() {
    test::MadeModel made;
    made.layers = 1;
    test::make_checkpoint(scratch_.path() / "model", made);
    model_ = std::make_unique<Checkpoint>(open_checkpoint(scratch_.file("model")));
    Rng rng(2);
    text_.length = 32;
    for (int i = 0; i < 12; ++i) {
      Sequence s;
      for (int k = 0; k < 32; ++k) s.push_back(static_cast<int32_t>(rng.below(512)));
      text_.sequences.push_back(s);
    }
    run_calibration(*model_, text_, {scratch_.file("stats")}, pool_, silent_);
    stats_ = folder_stats(scratch_.file("stats"), *model_);
    base_.solver = "gptq";
    base_.options.passes = 1;
  }

  Candidates candidates(std::vector<std::string> formats) {
    Candidates c(*model_, Target::gguf, base_, std::move(formats), stats_, scratch_.file("work"), pool_);
    c.make(silent_);
    return c;
  }
  SearchResult search(Candidates& c, const Goal& goal) {
    return search_formats(c, *model_, goal, text_, {2, 6}, scratch_.file("work/measured"), pool_, silent_);
  }

  test::Scratch scratch_;
  ThreadPool pool_{2};
  Progress silent_{Progress::Style::silent};
  std::unique_ptr<Checkpoint> model_;
  CalibrationText text_;
  std::shared_ptr<StatsSource> stats_;
  Recipe base_;
};

TEST_F(SearchTest, MeetsTheSizeAndIsNoWorseThanAnyUniformFile) {
  Candidates c = candidates({"q2_k", "q4_k", "q6_k"});
  const uint64_t size = c.size(std::vector<size_t>(c.tensors().size(), 1)).file;  // all q4_k
  Goal goal;
  goal.size = size;
  const SearchResult r = search(c, goal);
  EXPECT_LE(r.best.bytes, size);
  EXPECT_EQ(r.uniform.size(), 3U);
  for (const Measured& u : r.uniform) {
    if (u.bytes > size) continue;
    EXPECT_LE(r.best.kld.value, u.kld.value) << u.name;
  }
  // The file that the recipe makes is the one that was measured.
  const Recipe recipe = c.recipe(r.best.formats);
  const QuantizationPlan plan = plan_quantization(*model_, Target::gguf, recipe, stats_);
  JobOptions options;
  options.output = scratch_.file("out.gguf");
  run_job(plan, options, pool_, silent_);
  EXPECT_EQ(std::filesystem::file_size(options.output), r.best.bytes);
  const Checkpoint out = open_checkpoint(options.output);
  for (size_t t = 0; t < c.tensors().size(); ++t)
    EXPECT_EQ(out.at(c.tensors()[t]).format.to_string(), c.formats()[r.best.formats[t]]) << c.tensors()[t];
  // Every measurement is known now: a second search finds the same without measuring.
  EXPECT_EQ(search(c, goal).best.formats, r.best.formats);
  EXPECT_NE(curve_svg(r).find("<polyline"), std::string::npos);
  EXPECT_NE(curve_text(r).find("q4_k"), std::string::npos);
}

TEST_F(SearchTest, ReachesADivergenceWithTheSmallestFile) {
  Candidates c = candidates({"q2_k", "q4_k", "q8_0"});
  Goal goal;
  goal.size = c.size(std::vector<size_t>(c.tensors().size(), 1)).file;
  const double kld = search(c, goal).best.kld.value;
  goal = {};
  goal.kld = kld;
  const SearchResult r = search(c, goal);
  EXPECT_LE(r.best.kld.value, kld);
  EXPECT_LT(r.best.bytes, c.size(std::vector<size_t>(c.tensors().size(), 2)).file);
  goal.kld = 1e-15;
  EXPECT_THROW(search(c, goal), Error);
}

TEST_F(SearchTest, RefusesASizeThatNothingReaches) {
  Candidates c = candidates({"q2_k", "q4_k"});
  Goal goal;
  goal.size = 1000;
  EXPECT_THROW(search(c, goal), Error);
}

TEST_F(SearchTest, LeavesNamedTensorsAlone) {
  base_.overrides = {{"output.weight", "q8_0"}, {"*ffn_down*", "keep"}};
  Candidates c = candidates({"q2_k", "q4_k"});
  for (const std::string& name : c.tensors()) {
    EXPECT_NE(name, "output.weight");
    EXPECT_EQ(name.find("ffn_down"), std::string::npos);
  }
  EXPECT_THROW(Candidates(*model_, Target::gguf, base_, {"q4_k"}, stats_, scratch_.file("w"), pool_), Error);
}

}  // namespace
}  // namespace nibble
