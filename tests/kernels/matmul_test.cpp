#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/rng.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;
using test::KeepLevel;

Matrix weights(const std::string& word, Shape shape, uint64_t seed = 1) {
  return Matrix(encode_nearest(format_of(word), shape, gaussian(shape.elements(), seed, 0.1)), "w");
}

/// The product in double, and for each output a bound on what f32 sums in 16 lanes may lose: each lane adds
/// ceil(K/16) rounded products, the tree four more sums, all relative to the sum of magnitudes.
void check_against_double(const Matrix& w, int64_t first, int64_t n, int64_t m, const std::vector<float>& x,
                          const std::vector<float>& y) {
  const int64_t k = w.cols();
  std::vector<float> row(static_cast<size_t>(k));
  const double steps = static_cast<double>((k + 15) / 16) + 1 + 4;
  for (int64_t j = 0; j < n; ++j) {
    decode_range(w.tensor(), (first + j) * k, k, row.data());
    for (int64_t i = 0; i < m; ++i) {
      double sum = 0, magnitude = 0;
      for (int64_t c = 0; c < k; ++c) {
        const double p = double(x[size_t(i * k + c)]) * double(row[size_t(c)]);
        sum += p;
        magnitude += std::fabs(p);
      }
      ASSERT_NEAR(y[size_t(i * n + j)], sum, steps * 0x1p-24 * magnitude + 1e-37)
          << "row " << i << ", column " << j;
    }
  }
}

/// The line of plain products: some levels have those of a lower one.
std::string plain_line(IsaLevel level) {
  if (level == IsaLevel::amx) level = IsaLevel::avx512;
  if (level == IsaLevel::dotprod || level == IsaLevel::i8mm) level = IsaLevel::neon;
  return "f32-" + std::string(isa_name(level));
}

struct Case {
  const char* format;
  int64_t m, n, k;
};

class Products : public testing::TestWithParam<Case> {};

TEST_P(Products, AgreeWithDecodeAtEveryLevelAndThreadCount) {
  const KeepLevel keep;
  const Case c = GetParam();
  const Matrix w = weights(c.format, {c.n, c.k});
  const auto x = gaussian(c.m * c.k, 7);
  std::vector<float> expected;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<float> y(static_cast<size_t>(c.m * c.n), NAN);
      matmul(w, 0, c.n, x.data(), c.m, y.data(), c.n, pool);
      EXPECT_EQ(last_kernel(), plain_line(level));
      if (expected.empty()) {
        check_against_double(w, 0, c.n, c.m, x, y);
        expected = y;
      }
      ASSERT_EQ(y, expected) << isa_name(level) << " with " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Products,
                         testing::Values(Case{"f32", 1, 1, 1}, Case{"f32", 1, 5, 3}, Case{"f32", 3, 7, 15},
                                         Case{"f32", 5, 9, 16}, Case{"f32", 4, 4, 17},
                                         Case{"f32", 9, 70, 172}, Case{"f16", 2, 13, 99},
                                         Case{"bf16", 6, 67, 130}, Case{"q8_0", 8, 33, 96},
                                         Case{"q4_0", 1, 130, 512}, Case{"q4_0", 17, 65, 1056}));

TEST(Matmul, EveryFormatOfTheListMultiplies) {
  ThreadPool pool(2);
  const auto x = gaussian(3 * 512, 7);
  int formats = 0;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      if (!format_of(word).info().can_encode) continue;
      SCOPED_TRACE(word);
      ++formats;
      Matrix w = weights(word, {6, 512});
      std::vector<float> y(18), kept(18);
      matmul(w, 0, 6, x.data(), 3, y.data(), 6, pool);
      check_against_double(w, 0, 6, 3, x, y);
      w.keep_decoded(pool);
      matmul(w, 0, 6, x.data(), 3, kept.data(), 6, pool);
      EXPECT_EQ(kept, y);
    }
  }
  EXPECT_GT(formats, 10);
}

TEST(Matmul, RowsOfOneTensorAreSlices) {
  const Matrix w = weights("q8_0", {3, 10, 64});  // three stacked matrices
  EXPECT_EQ(w.rows(), 30);
  ThreadPool pool(2);
  const auto x = gaussian(2 * 64, 3);
  std::vector<float> y(20);
  matmul(w, 20, 10, x.data(), 2, y.data(), 10, pool);
  check_against_double(w, 20, 10, 2, x, y);
}

TEST(Matmul, KeptRowsGiveTheSameBits) {
  Matrix w = weights("q4_0", {40, 96});
  ThreadPool pool(2);
  const auto x = gaussian(3 * 96, 3);
  std::vector<float> before(120), after(120);
  matmul(w, 0, 40, x.data(), 3, before.data(), 40, pool);
  EXPECT_EQ(w.decoded(), nullptr);
  w.keep_decoded(pool);
  ASSERT_NE(w.decoded(), nullptr);
  matmul(w, 0, 40, x.data(), 3, after.data(), 40, pool);
  EXPECT_EQ(before, after);
}

TEST(Matmul, ShortPlanesAreNamed) {
  QTensor t = encode_nearest(format_of("q8_0"), {4, 64}, gaussian(256, 1));
  t.planes[0].bytes = t.planes[0].bytes.first(100);
  try {
    const Matrix w(t, "blk.0.attn_q.weight");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_input);
    EXPECT_NE(std::string(e.what()).find("blk.0.attn_q.weight"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("272"), std::string::npos) << e.what();
  }
}

TEST(WeightedSum, SameBitsAtEveryLevel) {
  const int64_t m = 6, t = 37, d = 43;
  const auto p = gaussian(m * t, 1), v = gaussian(t * d, 2), start = gaussian(m * d, 3);
  std::vector<float> expected(start);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t c = 0; c < d; ++c) {
      for (int64_t k = 0; k < t; ++k) {
        expected[size_t(i * d + c)] += v[size_t(k * d + c)] * p[size_t(i * t + k)];
      }
    }
  }
  for (const IsaLevel level : isa_levels()) {
    std::vector<float> y(start);
    cpu_kernels(level).sums.weighted_sum({p.data(), m, t, v.data(), t, d, d, y.data(), d});
    EXPECT_EQ(y, expected) << isa_name(level);
  }
}

TEST(WeightedSum, WideRowsAreCutIntoPieces) {
  const int64_t m = 5, t = 9, d = 200;
  const auto p = gaussian(m * t, 1), v = gaussian(t * d, 2), start = gaussian(m * d, 3);
  std::vector<float> expected;
  for (const IsaLevel level : isa_levels()) {
    std::vector<float> y(start);
    cpu_kernels(level).sums.weighted_sum({p.data(), m, t, v.data(), t, d, d, y.data(), d});
    if (expected.empty()) expected = y;
    EXPECT_EQ(y, expected) << isa_name(level);
    for (const int64_t i : {int64_t{0}, m * d - 1, 2 * d + 63, 3 * d + 64, 4 * d + 191, d + 192}) {
      double sum = double{start[size_t(i)]};
      for (int64_t k = 0; k < t; ++k) sum += double{v[size_t(k * d + i % d)]} * p[size_t(i / d * t + k)];
      EXPECT_NEAR(double{y[size_t(i)]}, sum, 1e-5);
    }
  }
}

TEST(SubtractProducts, SameBitsAtEveryLevel) {
  const int64_t m = 6, k = 37, n = 43, stride = 50;
  const auto doubles = [](int64_t count, uint64_t seed) {
    const auto x = gaussian(count, seed);
    return std::vector<double>(x.begin(), x.end());
  };
  const auto x = doubles(m * k, 1), y = doubles(k * n, 2), start = doubles(m * stride, 3);
  std::vector<double> expected(start);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t c = 0; c < k; ++c)
        expected[size_t(i * stride + j)] -= x[size_t(i * k + c)] * y[size_t(c * n + j)];
    }
  }
  for (const IsaLevel level : isa_levels()) {
    std::vector<double> a(start);
    cpu_kernels(level).sums.subtract_products({a.data(), m, stride, x.data(), k, y.data(), n, n, k});
    EXPECT_EQ(a, expected) << isa_name(level);
  }
}

TEST(FusedSums, AreWithinARoundingOfTheExactOnes) {
  const int64_t m = 11, t = 37, d = 83;
  const auto p = gaussian(m * t, 1), v = gaussian(t * d, 2), start = gaussian(m * d, 3);
  const std::vector<double> px(p.begin(), p.end()), vx(v.begin(), v.end()), sx(start.begin(), start.end());
  for (const IsaLevel level : isa_levels()) {
    const CpuKernels& k = cpu_kernels(level);
    std::vector<float> y(start);
    k.fused_sums.weighted_sum({p.data(), m, t, v.data(), t, d, d, y.data(), d});
    std::vector<double> a(sx);
    k.fused_sums.subtract_products({a.data(), m, d, px.data(), t, vx.data(), d, d, t});
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < d; ++j) {
        double sum = 0, magnitude = std::fabs(sx[size_t(i * d + j)]);
        for (int64_t c = 0; c < t; ++c) {
          sum += px[size_t(i * t + c)] * vx[size_t(c * d + j)];
          magnitude += std::fabs(px[size_t(i * t + c)] * vx[size_t(c * d + j)]);
        }
        const auto at = size_t(i * d + j);
        ASSERT_NEAR(double{y[at]}, sx[at] + sum, double(t) * 0x1p-24 * magnitude) << isa_name(level);
        ASSERT_NEAR(a[at], sx[at] - sum, double(2 * t) * 0x1p-53 * magnitude) << isa_name(level);
      }
    }
  }
}

TEST(Isa, EnvironmentLowersTheLevel) {
#if defined(NIBBLE_EMULATED)
  GTEST_SKIP() << "an emulated program cannot start itself";
#endif
  // Runs in a new process, where the level has not been read yet.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (const IsaLevel level : isa_levels()) {
    const std::string name(isa_name(level));
    setenv("NIBBLE_ISA", name.c_str(), 1);
    EXPECT_EXIT(
        {
          ThreadPool pool(1);
          Matrix w = weights("f32", {4, 32});
          w.set_precision(Precision::fast);
          const auto x = gaussian(16 * 32, 1);
          float y[64];
          matmul(w, 0, 4, x.data(), 16, y, 4, pool);
          const std::string ran = last_kernel();
          const bool right = ran == plain_line(level) || ran == "tiles-" + name;
          std::exit(right && isa_level() == level ? 0 : 1);
        },
        testing::ExitedWithCode(0), "");
  }
  unsetenv("NIBBLE_ISA");
}

TEST(Isa, UnknownNamesAreUsageErrors) {
  try {
    isa_from_name("sse9");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
  }
}

}  // namespace
}  // namespace nibble
