#include "kernels/gram.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/half.h"
#include "base/rng.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::KeepLevel;

std::vector<float> numbers(int64_t rows, int64_t cols) {
  Rng rng(static_cast<uint64_t>(rows * 1000 + cols));
  std::vector<float> x(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] =
        static_cast<float>(rng.normal() * std::exp2(static_cast<double>(i % static_cast<size_t>(cols) % 9)));
  return x;
}

/// In double, and what of each sum are magnitudes.
struct Reference {
  std::vector<double> sum, magnitude;
};
Reference reference(const std::vector<float>& x, int64_t cols, bool rounded) {
  const auto n = static_cast<size_t>(cols);
  Reference r{std::vector<double>(n * n), std::vector<double>(n * n)};
  std::vector<double> row(n);
  for (size_t at = 0; at < x.size(); at += n) {
    for (size_t i = 0; i < n; ++i) {
      const float v = x[at + i];
      row[i] = rounded ? bf16_to_f32(f32_to_bf16(v)) : v;
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        r.sum[i * n + j] += row[i] * row[j];
        r.magnitude[i * n + j] += std::fabs(row[i] * row[j]);
      }
    }
  }
  return r;
}

/// Rows in calls of uneven sizes.
std::vector<float> gram(const std::vector<float>& x, int64_t cols, Precision precision, int threads) {
  ThreadPool pool(threads);
  Gram g(cols, precision);
  const int64_t rows = static_cast<int64_t>(x.size()) / cols;
  for (int64_t at = 0, n = 1; at < rows; at += n, n = 2 * n + 3)
    g.add(x.data() + at * cols, std::min(n, rows - at), pool);
  return g.take(pool);
}

// Groups of 16 and pairs of them that are not full, pieces of 32 groups, tokens for several products.
const std::array<int64_t, 2> shapes[] = {{1, 1},    {5, 7},    {33, 16},   {31, 17},   {64, 48},
                                         {300, 40}, {2100, 9}, {130, 530}, {1024, 64}, {1100, 1090}};

TEST(Gram, IsTheSumOfProductsAtEveryLevel) {
  const KeepLevel keep;
  for (const auto& [rows, cols] : shapes) {
    SCOPED_TRACE(fmt::format("{} rows of {}", rows, cols));
    const std::vector<float> x = numbers(rows, cols);
    const Reference exact = reference(x, cols, false), rounded = reference(x, cols, true);
    std::vector<float> same;
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      const std::vector<float> h = gram(x, cols, Precision::exact, 2);
      if (same.empty()) same = h;
      ASSERT_TRUE(h == same) << isa_name(level);
      const bool unit = cpu_kernels().gram.run != nullptr;
      const std::vector<float> fast = gram(x, cols, Precision::fast, 2);
      ASSERT_TRUE(unit || fast == h) << isa_name(level);
      const Reference& r = unit ? rounded : exact;
      // As many additions as there are rows, each off by a unit of f32 at most.
      const double unit_share = static_cast<double>(rows + 20) * 0x1p-23;
      const auto n = static_cast<size_t>(cols);
      for (size_t i = 0; i < h.size(); ++i) {
        ASSERT_NEAR(double{h[i]}, exact.sum[i], unit_share * exact.magnitude[i]) << i << isa_name(level);
        ASSERT_NEAR(double{fast[i]}, r.sum[i], unit_share * r.magnitude[i]) << i << isa_name(level);
        ASSERT_EQ(fast[i], fast[i % n * n + i / n]) << "symmetric";
      }
    }
  }
}

TEST(Gram, DoesNotDependOnThreads) {
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const std::vector<float> x = numbers(1300, 600);
    const std::vector<float> one = gram(x, 600, precision, 1);
    for (const int threads : {2, 3}) ASSERT_TRUE(gram(x, 600, precision, threads) == one) << threads;
  }
}

TEST(Gram, NothingIsLeftBehind) {
  ThreadPool pool(2);
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    Gram empty(3, precision);
    EXPECT_EQ(empty.take(pool), std::vector<float>(9));
  }
}

}  // namespace
}  // namespace nibble
