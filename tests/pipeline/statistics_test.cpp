// Jobs that round with what they know of the data, wherever that comes from.
#include <gtest/gtest.h>

#include <cmath>

#include "containers/imatrix.h"
#include "pipeline/statistics_jobs.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::dense;
using test::mixture;
using test::Statistics;

TEST_F(Statistics, BytesDoNotDependOnThreads) {
  for (const auto& [config, precision] : {std::pair{dense, Precision::exact},
                                          {mixture, Precision::exact},
                                          {dense, Precision::fast},
                                          {mixture, Precision::fast}}) {
    const Checkpoint c = made("model", config);
    CalibrationText t = text();
    t.precision = precision;
    std::string expected;
    for (const int threads : {1, 2, 3, 8}) {
      ThreadPool pool(threads);
      quantize(c, recipe("q4_0", "gptq"), live(c, pool, t), "out", pool);
      const std::string bytes = test::file_bytes(weights("out"));
      ASSERT_FALSE(bytes.empty());
      if (expected.empty()) expected = bytes;
      EXPECT_TRUE(bytes == expected) << threads;
      EXPECT_FALSE(fs::exists(scratch_.path() / "hidden.partial"));
    }
  }
}

TEST_F(Statistics, AFolderGivesTheBytesOfTheLivePass) {
  for (const char* config : {dense, mixture}) {
    const Checkpoint c = made("model", config);
    quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "live.gguf", pool_);
    const std::string folder = calibrated(c, "stats");
    EXPECT_FALSE(fs::exists(folder + ".hidden.partial"));
    quantize(c, recipe("q4_0", "gptq"), folder_stats(folder, c), "folder.gguf", pool_);
    quantize(c, recipe("q4_0", "nearest"), nullptr, "nearest.gguf", pool_);
    const auto live_bytes = tensors("live.gguf"), folder_bytes = tensors("folder.gguf");
    EXPECT_TRUE(live_bytes == folder_bytes);
    int changed = 0;
    for (const auto& [name, bytes] : tensors("nearest.gguf")) changed += bytes != live_bytes.at(name) ? 1 : 0;
    EXPECT_GT(changed, 10);
    fs::remove_all(folder);
  }
}

TEST_F(Statistics, AnImportanceMatrixWeighsNearest) {
  const Checkpoint c = made("model", dense);
  const std::string path = calibrated(c, "imatrix.gguf");
  Imatrix m = read_imatrix(path);
  EXPECT_EQ(m.entries.size(), 2u * 7 + 1);
  EXPECT_EQ(m.chunks, 6u);
  EXPECT_EQ(m.chunk_size, 64u);
  // One channel matters and no other.
  auto& e = m.entries.at("blk.1.ffn_up.weight");
  std::fill(e.sum2.begin(), e.sum2.end(), 1e-6f);
  e.sum2[5] = 1e6f;
  write_imatrix(m, path);
  quantize(c, recipe("q4_0", "nearest"), imatrix_stats(path), "weighed.gguf", pool_);
  quantize(c, recipe("q4_0", "nearest"), nullptr, "plain.gguf", pool_);
  const auto x = rows_of(c, "blk.1.ffn_up.weight");
  const auto error = [&](const std::string& name) {
    const auto y = rows_of(open_checkpoint(scratch_.file(name)), "blk.1.ffn_up.weight");
    double sum = 0;
    for (size_t i = 5; i < x.size(); i += 64) sum += std::pow(double{x[i]} - y[i], 2);
    return sum;
  };
  EXPECT_LT(error("weighed.gguf"), 0.1 * error("plain.gguf"));
  // Both kinds of file tell the same.
  write_imatrix(m, scratch_.file("imatrix.dat"));
  quantize(c, recipe("q4_0", "nearest"), imatrix_stats(scratch_.file("imatrix.dat")), "dat.gguf", pool_);
  int different = 0;
  const auto dat = tensors("dat.gguf"), gguf = tensors("weighed.gguf");
  for (const auto& [name, bytes] : gguf) {
    for (size_t i = 0; i < bytes.size(); ++i) different += bytes[i] != dat.at(name)[i] ? 1 : 0;
  }
  EXPECT_LT(different, 20);  // their means differ in the last bit
}

// --- experts

/// Rounds one matrix by itself.
std::vector<float> solved(const Format& format, const Shape& shape, std::span<const float> x,
                          const InputStats& input, ThreadPool& pool) {
  const Solver& gptq = solver_of("gptq");
  const auto info = format.planes(shape);
  std::vector<std::byte> bytes(info.front().bytes);
  const Stats stats{{}, input.hessian};
  const auto prepared = gptq.prepare(stats, {}, pool);
  std::byte* at = bytes.data();
  gptq.solve({format, shape, info, 0, x, {}, std::span(&at, 1)}, prepared.get());
  const QTensor t{format.spec(), shape, {{info.front().name, bytes, {}}}};
  std::vector<float> y(x.size());
  decode_range(format, t, 0, shape.elements(), y.data());
  return y;
}

/// Inputs of a layer, by reader and expert.
std::map<std::pair<std::string, int64_t>, InputStats> inputs_of(const Checkpoint& c, int64_t layer,
                                                                const std::vector<Sequence>& sequences,
                                                                const std::string& file, ThreadPool& pool) {
  LayerWalk walk(c, sequences, file, pool);
  Collector collector({.hessian = true}, pool);
  walk.observe(layer, collector, [] {});
  std::map<std::pair<std::string, int64_t>, InputStats> all;
  for (const InputStats& s : collector.take()) {
    for (const std::string& reader : s.readers) all[{reader, s.slice}] = s;
  }
  walk.remove();
  return all;
}

TEST_F(Statistics, AStackOfExpertsIsSolvedAsEachExpertByItself) {
  const Checkpoint c = made("model", mixture);
  const CalibrationText t = text(8, 100);
  const auto notes = quantize(c, recipe("q4_0", "gptq"), live(c, pool_, t), "out.gguf", pool_);
  for (const auto& [name, note] : notes) EXPECT_EQ(note.find("fewer than"), note.npos) << name << " " << note;
  quantize(c, recipe("q4_0", "gptq"), live(c, pool_, t), "out", pool_);
  const Checkpoint gguf = open_checkpoint(scratch_.file("out.gguf"));
  const Checkpoint folder = open_checkpoint(scratch_.file("out"));
  const auto inputs = inputs_of(c, 1, t.sequences, scratch_.file("hidden"), pool_);
  for (const char* name :
       {"blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight", "blk.1.ffn_down_exps.weight"}) {
    const CanonicalTensor& stack = c.at(name);
    ASSERT_EQ(stack.experts, 4);
    const Shape one{stack.shape[1], stack.shape[2]};
    const auto n = static_cast<size_t>(one.elements());
    const auto x = rows_of(c, name), y = rows_of(gguf, name), z = rows_of(folder, name);
    for (size_t e = 0; e < 4; ++e) {
      const InputStats& input = inputs.at({name, static_cast<int64_t>(e)});
      ASSERT_GE(input.rows, fewest_expert_tokens);
      const auto expected = solved(format_of("q4_0"), one, std::span(x).subspan(e * n, n), input, pool_);
      EXPECT_TRUE(
          std::equal(expected.begin(), expected.end(), y.begin() + static_cast<std::ptrdiff_t>(e * n)))
          << name << " expert " << e;
      EXPECT_TRUE(
          std::equal(expected.begin(), expected.end(), z.begin() + static_cast<std::ptrdiff_t>(e * n)))
          << name << " expert " << e << " in a folder";
    }
  }
}

TEST_F(Statistics, AnExpertNeverRoutedToIsNamedAndGetsTheStatisticsOfAll) {
  made("model", mixture);
  // A channel that is loud in every token, and an expert that it keeps from being chosen.
  test::patch_tensor(weights("model"), "model.embed_tokens.weight", [](std::vector<float>& x, int64_t cols) {
    for (size_t i = 0; i < x.size(); i += static_cast<size_t>(cols)) x[i] = 8;
  });
  test::patch_tensor(weights("model"), "model.layers.0.block_sparse_moe.gate.weight",
                     [](std::vector<float>& x, int64_t cols) {
                       for (size_t i = 0; i < x.size(); i += static_cast<size_t>(cols)) x[i] = 0;
                       std::fill(x.end() - cols, x.end(), 0.0f);
                       *(x.end() - cols) = -20;
                     });
  const Checkpoint c = open_checkpoint(scratch_.file("model"));
  const auto notes = quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "out.gguf", pool_);
  const auto inputs = inputs_of(c, 0, text().sequences, scratch_.file("hidden"), pool_);
  for (const char* stem : {"gate", "up", "down"}) {
    const std::string name = std::string("blk.0.ffn_") + stem + "_exps.weight";
    const auto note = notes.find(name + " expert 3");
    ASSERT_NE(note, notes.end()) << name;
    EXPECT_NE(note->second.find("saw 0 tokens"), std::string::npos) << note->second;
    EXPECT_NE(note->second.find("all experts"), std::string::npos) << note->second;
    EXPECT_FALSE(inputs.count({name, 3}));
    InputStats pooled;
    for (int64_t e = 0; e < 3; ++e) {
      if (const auto input = inputs.find({name, e}); input != inputs.end()) add_stats(pooled, input->second);
    }
    const Shape one{c.at(name).shape[1], c.at(name).shape[2]};
    const auto n = static_cast<size_t>(one.elements());
    const auto x = rows_of(c, name), y = rows_of(open_checkpoint(scratch_.file("out.gguf")), name);
    const auto expected = solved(format_of("q4_0"), one, std::span(x).subspan(3 * n), pooled, pool_);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), y.begin() + static_cast<std::ptrdiff_t>(3 * n)))
        << name;
  }
  // In a folder experts are matrices of their own; the note names them by that.
  bool named = false;
  for (const auto& [name, note] : quantize(c, recipe("q4_0", "gptq"), live(c, pool_), "out", pool_))
    named = named || (name.find("layers.0.block_sparse_moe.experts.3.w1") != name.npos &&
                      note.find("saw 0 tokens") != note.npos);
  EXPECT_TRUE(named);
}

}  // namespace
}  // namespace nibble
