#include "pipeline/made_matrices.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace nibble {
namespace {

constexpr size_t size = 1000;

/// Numbers 0, 1, 2 ..., then twice as many.
std::vector<MadeMatrices::Step> steps(std::atomic<int>& made) {
  return {{10,
           [&](size_t p, std::span<float> x) {
             ++made;
             for (size_t i = p * 100; i < (p + 1) * 100; ++i) x[i] = static_cast<float>(i);
           }},
          {4, [](size_t p, std::span<float> x) {
             // Reads what other pieces of the step before made.
             for (size_t i = p * 250; i < (p + 1) * 250; ++i) x[i] = x[i] + static_cast<float>(i);
           }}};
}

TEST(MadeMatrices, AreMadeOnceByAllWhoWantThem) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    MadeMatrices matrices(1 << 20, pool);
    std::atomic<int> made{0};
    const auto all = steps(made);
    std::atomic<int> wrong{0};
    pool.parallel_for(40, [&](size_t) {
      const auto m = matrices.get("a", 3, size, all);
      for (size_t i = 0; i < size; ++i) wrong += (*m)[i] != 2 * static_cast<float>(i);
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(made, 10);
    matrices.get("a", 3, size, all);
    EXPECT_EQ(made, 10);
    matrices.release("a");
    matrices.get("a", 3, size, all);
    EXPECT_EQ(made, 20);
  }
}

TEST(MadeMatrices, TheOneUsedLongestAgoGoesFirstButStaysWithWhoReadsIt) {
  ThreadPool pool(2);
  MadeMatrices matrices(3 * size * sizeof(float), pool);
  std::atomic<int> made{0};
  const auto all = steps(made);
  const auto held = matrices.get("a", 0, size, all);
  for (int i = 1; i < 3; ++i) matrices.get("a", i, size, all);
  matrices.get("a", 0, size, all);
  EXPECT_EQ(made, 30);
  matrices.get("a", 3, size, all);  // in place of 1
  matrices.get("a", 0, size, all);
  EXPECT_EQ(made, 40);
  matrices.get("a", 1, size, all);
  EXPECT_EQ(made, 50);
  EXPECT_EQ((*held)[size - 1], 2 * static_cast<float>(size - 1));
}

TEST(MadeMatrices, AFailureReachesEveryoneAndIsForgotten) {
  ThreadPool pool(3);
  MadeMatrices matrices(1 << 20, pool);
  std::atomic<int> made{0}, thrown{0};
  auto broken = steps(made);
  broken[0].make = [](size_t p, std::span<float>) {
    if (p == 4) throw std::runtime_error("no such row");
  };
  pool.parallel_for(3, [&](size_t) {
    try {
      matrices.get("a", 0, size, broken);
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 3);
  EXPECT_EQ((*matrices.get("a", 0, size, steps(made)))[7], 14.0f);
}

}  // namespace
}  // namespace nibble
