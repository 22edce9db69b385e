#include "kernels/split_triangle.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;

/// y before and after all panels of one or two times 128 rows of p, rows one after the other in both.
struct Sums {
  std::vector<float> before, after;
};
Sums sums(const SplitTriangle& split, const std::vector<float>& p, int64_t rows, int64_t n, int64_t width) {
  Sums s{gaussian(SplitTriangle::padded_rows(rows) * n + 15, 7), {}};
  s.after = s.before;
  for (int64_t from = 0; from + width < n; from += width)
    split.add(from, from + width, p.data(), rows, n, s.after.data(), n);
  return s;
}

TEST(SplitTriangle, IsWithinItsBoundOfTheProducts) {
  const test::KeepLevel keep;
  ThreadPool pool(2);
  bool seen = false;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const int64_t n : {129, 300, 512, 649}) {
      std::vector<float> m = gaussian(n * n, 3);
      const SplitTriangle split(m.data(), n, pool);
      if (split.empty()) continue;
      seen = true;
      for (const int64_t rows : {1, 15, 16, 33, 64}) {
        const std::vector<float> p = gaussian(rows * n, 5);
        for (const int64_t width : {128, 256}) {
          SCOPED_TRACE(fmt::format("{} columns, {} rows, panels of {}", n, rows, width));
          const Sums s = sums(split, p, rows, n, width);
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < n; ++j) {
              // What stood before column j when its panel began.
              const int64_t last = j / width * width;
              const auto at = static_cast<size_t>(i * n + j);
              double sum = s.before[at], magnitude = std::fabs(sum);
              for (int64_t t = 0; t < last; ++t) {
                const double product = double{p[size_t(i * n + t)]} * m[size_t(t * n + j)];
                sum += product;
                magnitude += std::fabs(product);
              }
              if (last == 0) {
                ASSERT_EQ(s.after[at], s.before[at]) << i << " " << j;
              } else {
                // 2^-16 for the products left out, as much for what two bf16 leave; roundings of f32.
                ASSERT_NEAR(double{s.after[at]}, sum,
                            (0x1p-15 + static_cast<double>(last) * 0x1p-24) * magnitude);
              }
            }
          }
          // Padding rows and what stands behind the last one are as they were.
          for (auto at = static_cast<size_t>(rows * n); at < s.after.size(); ++at)
            ASSERT_EQ(s.after[at], s.before[at]) << at;
        }
      }
    }
  }
  if (!seen) GTEST_SKIP() << "no level of this machine has a matrix unit of bf16";
}

TEST(SplitTriangle, DoesNotDependOnThreads) {
  const int64_t n = 400, rows = 20;
  const std::vector<float> m = gaussian(n * n, 3), p = gaussian(rows * n, 5);
  ThreadPool one(1), three(3);
  const SplitTriangle a(m.data(), n, one), b(m.data(), n, three);
  ASSERT_EQ(a.empty(), b.empty());
  if (a.empty()) GTEST_SKIP() << "no matrix unit of bf16";
  EXPECT_EQ(sums(a, p, rows, n, 128).after, sums(b, p, rows, n, 128).after);
}

TEST(SplitTriangle, NothingStaysOfASmallMatrix) {
  ThreadPool pool(1);
  const std::vector<float> m(100 * 100, 1.0f);
  const SplitTriangle split(m.data(), 100, pool);
  if (split.empty()) GTEST_SKIP() << "no matrix unit of bf16";
  std::vector<float> y(16 * 100 + 15, 2.0f);
  split.add(0, 128, m.data(), 16, 100, y.data(), 100);
  EXPECT_EQ(y, std::vector<float>(y.size(), 2.0f));
}

}  // namespace
}  // namespace nibble
