#include "model/arrangement.h"

#include <gtest/gtest.h>

#include <set>

#include "model/executor.h"
#include "model/small_model.h"

namespace nibble {
namespace {

/// Counts what is let go.
struct CountingSource final : WeightSource {
  test::MapSource tensors;
  std::shared_ptr<std::multiset<std::string>> gone = std::make_shared<std::multiset<std::string>>();

  std::optional<QTensor> find(std::string_view name) const override { return tensors.find(name); }
  std::function<void()> releaser(std::string_view name) const override {
    return [all = gone, name = std::string(name)] { all->insert(name); };
  }
};

struct Built {
  std::shared_ptr<std::multiset<std::string>> gone;
  Program program;
};

Built build(ThreadPool& pool) {
  const Hparams h = test::small_hparams();
  CountingSource source;  // gone when the program runs
  source.tensors = test::random_weights(h);
  Built b{source.gone, build_program(test::llama_like(), h, source, pool, {.precision = Precision::fast})};
  return b;
}

std::vector<float> pass(Executor& executor) {
  KvCache cache = executor.program().cache(64, "f16");
  const std::vector<int32_t> tokens = {3, 14, 15, 9, 26, 5};
  const auto logits = executor.run(tokens, cache, Want::all);
  return {logits.begin(), logits.end()};
}

TEST(Arrangement, TheSecondPassPutsWeightsIntoLanes) {
  ThreadPool pool(2);
  const Built b = build(pool);
  if (b.program.arrangement == nullptr) GTEST_SKIP() << "no lanes at this level";
  Executor executor(b.program, pool), other(b.program, pool);
  EXPECT_TRUE(b.gone->empty());
  const std::vector<float> first = pass(executor);
  EXPECT_TRUE(b.gone->empty()) << "the first pass waits for nothing";
  EXPECT_EQ(pass(executor), first);
  // Seven matrices of two layers, and the embedding, which is the output matrix, too.
  EXPECT_EQ(b.gone->size(), 2 * 7 + 1);
  EXPECT_EQ(b.gone->count("blk.1.ffn_down.weight"), 1);
  EXPECT_EQ(pass(other), first);
  b.program.arrangement->finish(pool);
  EXPECT_EQ(b.gone->size(), 2 * 7 + 1) << "once is enough";
  for (const auto& w : b.program.weights) {
    if (w->matrix && w->matrix->lanes() != nullptr) {
      EXPECT_NE(w->matrix->lanes_at(0), nullptr) << w->name;
    }
  }
}

TEST(Arrangement, WhoCannotWaitDoesItBefore) {
  ThreadPool pool(2);
  const size_t before = Arrangement::promised();
  const Built now = build(pool);
  if (now.program.arrangement == nullptr) GTEST_SKIP() << "no lanes at this level";
  const size_t all = Arrangement::promised() - before;
  EXPECT_GT(all, 0);
  {
    const Built later = build(pool);
    EXPECT_EQ(Arrangement::promised() - before, 2 * all);
  }
  EXPECT_EQ(Arrangement::promised() - before, all) << "a program that is gone wants nothing";
  const Built later = build(pool);
  now.program.arrangement->finish(pool);
  EXPECT_EQ(Arrangement::promised() - before, all) << "the other one's";
  EXPECT_EQ(now.gone->size(), 2 * 7 + 1);
  Executor a(now.program, pool), b(later.program, pool);
  EXPECT_EQ(pass(a), pass(b));
  EXPECT_TRUE(later.gone->empty());
}

}  // namespace
}  // namespace nibble
