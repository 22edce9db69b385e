// What nibble collects is what llama-imatrix collects (tests/data/goldens/imatrix/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "calibrate/input_stats.h"
#include "calibrate/text.h"
#include "containers/imatrix.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

TEST(LlamaImatrix, IsCollectedByNibbleToo) {
  const auto golden = test::source_dir() / "tests" / "data" / "goldens" / "imatrix" / "demo.gguf";
  const Imatrix expected = read_imatrix(golden.string());
  EXPECT_EQ(expected.chunks, 6u);
  EXPECT_EQ(expected.chunk_size, 64u);
  EXPECT_EQ(expected.datasets, (std::vector<std::string>{"heldout.txt"}));
  EXPECT_EQ(expected.entries.size(), 8u * 7);

  const auto demo = test::source_dir() / "models" / "demo";
  const Checkpoint model = open_checkpoint(demo.string());
  ThreadPool pool(2);
  const CalibrationText text = calibration_text(model, {(demo / "heldout.txt").string(), 6, 64, 0}, pool);
  const test::Scratch scratch;
  LayerWalk walk(model, text.sequences, scratch.file("hidden"), pool);
  Imatrix got;
  for (int64_t part = 0; part + 1 < walk.parts(); ++part) {  // llama-imatrix leaves the output matrix out
    Collector collector({}, pool);
    walk.observe(part, collector, [] {});
    for (const InputStats& s : collector.take()) add_to_imatrix(got, s, 1);
  }
  ASSERT_EQ(got.entries.size(), expected.entries.size());
  std::vector<double> differences;
  for (const auto& [name, e] : expected.entries) {
    ASSERT_TRUE(got.entries.count(name)) << name;
    EXPECT_EQ(got.entries.at(name).counts, e.counts) << name;
    const std::vector<float>& sums = got.entries.at(name).sum2;
    ASSERT_EQ(sums.size(), e.sum2.size()) << name;
    for (size_t i = 0; i < sums.size(); ++i)
      differences.push_back(std::fabs(sums[i] / static_cast<double>(e.sum2[i]) - 1));
  }
  std::sort(differences.begin(), differences.end());
  EXPECT_LT(differences[differences.size() / 2], 1e-4);
  EXPECT_LT(differences.back(), 3e-3);
}

}  // namespace
}  // namespace nibble
