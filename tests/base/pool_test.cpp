#include "base/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace nibble {
namespace {

TEST(Pool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const size_t count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> seen(count);
      pool.parallel_for(count, [&](size_t i) { ++seen[i]; });
      for (const auto& n : seen) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST(Pool, ManySmallJobs) {
  ThreadPool pool(4);
  std::atomic<size_t> sum{0};
  for (int job = 0; job < 2000; ++job) pool.parallel_for(4, [&](size_t i) { sum += i; });
  EXPECT_EQ(sum.load(), 2000u * 6u);
}

TEST(Pool, RethrowsAndStaysUsable) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.parallel_for(50,
                                 [](size_t i) {
                                   if (i == 7) throw std::runtime_error("seven");
                                 }),
               std::runtime_error);
  std::atomic<int> n{0};
  pool.parallel_for(50, [&](size_t) { ++n; });
  EXPECT_EQ(n.load(), 50);
}

// Threads begin with shares of their own: what one cannot get to, the others do.
TEST(Pool, WhatIsLeftOfAShareIsTakenOver) {
  ThreadPool pool(2);
  for (const size_t stuck : {0, 4}) {
    std::atomic<int> done{0};
    pool.parallel_for(8, [&](size_t i) {
      while (i == stuck && done.load() < 7) {
      }
      ++done;
    });
    EXPECT_EQ(done.load(), 8);
  }
}

TEST(Pool, NestedCallsRunSerially) {
  ThreadPool pool(3);
  std::atomic<int> n{0};
  pool.parallel_for(10, [&](size_t) { pool.parallel_for(10, [&](size_t) { ++n; }); });
  EXPECT_EQ(n.load(), 100);
}

}  // namespace
}  // namespace nibble
