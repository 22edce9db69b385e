// Products of whole numbers: the sums are exact, so every level and number of threads gives the same bits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "formats/whole_codes.h"
#include "kernels/int8_matmul.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;
using test::KeepLevel;

using Range = ActivationGrid::Range;

Matrix weights(const std::string& word, int64_t n, int64_t k) {
  return {encode_nearest(format_of(word), {n, k}, gaussian(n * k, 1, 0.1)), "w"};
}

const char* const words[] = {"int8:channel",
                             "int8:tensor",
                             "int8:channel:narrow:minmax",
                             "int8:g128:asym",
                             "int8:tensor:asym:minmax",
                             "int4:g128",
                             "int4:g32:f32",
                             "int4:channel",
                             "int3:channel:asym",
                             "q8_0",
                             "q4_0"};

TEST(WholeCodes, AreWhatDecodeGives) {
  for (const char* word : words) {
    const Matrix w = weights(word, 5, 384);
    const auto whole = WholeCodes::of(w.tensor());
    ASSERT_TRUE(whole) << word;
    const int64_t groups = 384 / whole->group();
    std::vector<int8_t> codes(384);
    std::vector<float> scales(static_cast<size_t>(groups)), decoded(384);
    std::vector<int32_t> zeros(scales.size());
    for (int64_t r = 0; r < 5; ++r) {
      whole->read_row(r, codes.data(), scales.data(), zeros.data());
      w.decode_rows(r, 1, decoded.data(), 384);
      for (size_t c = 0; c < 384; ++c) {
        const size_t g = c / static_cast<size_t>(whole->group());
        ASSERT_EQ(static_cast<float>(codes[c] - zeros[g]) * scales[g], decoded[c])
            << word << " " << r << " " << c;
      }
    }
  }
  for (const char* word : {"q4_k", "nf4", "f16", "int4:g64:asym:zf", "iq4_nl"})
    EXPECT_FALSE(WholeCodes::of(weights(word, 2, 256).tensor())) << word;
}

/// The product in double, of activations rounded as the definition has it.
std::vector<double> reference(const Matrix& w, const ActivationGrid& grid, const std::vector<float>& x,
                              int64_t m) {
  const int64_t k = w.cols(), n = w.rows();
  const int top = (1 << (grid.bits - 1)) - 1;
  std::vector<double> y(static_cast<size_t>(m * n)), low(static_cast<size_t>(m)), high(low);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t c = 0; c < k; ++c) {
      const double v = x[size_t(i * k + c)];
      if (std::fabs(v) > grid.outliers) continue;
      low[size_t(i)] = std::min(low[size_t(i)], v);
      high[size_t(i)] = std::max(high[size_t(i)], v);
    }
  }
  if (grid.range == Range::tensor) {
    std::fill(low.begin(), low.end(), *std::min_element(low.begin(), low.end()));
    std::fill(high.begin(), high.end(), *std::max_element(high.begin(), high.end()));
  }
  if (grid.range == Range::fixed) {
    std::fill(low.begin(), low.end(), grid.low);
    std::fill(high.begin(), high.end(), grid.high);
  }
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t j = 0; j < n; ++j) {
    w.decode_rows(j, 1, row.data(), k);
    for (int64_t i = 0; i < m; ++i) {
      const double l = low[size_t(i)], h = high[size_t(i)];
      const double scale = grid.asymmetric ? (h - l) / (2 * top + 1) : std::max(-l, h) / top;
      const int bottom = grid.asymmetric ? -top - 1 : -top;
      const double zero = grid.asymmetric ? std::nearbyint(bottom - l / scale) : 0;
      double sum = 0;
      for (int64_t c = 0; c < k; ++c) {
        const float v = x[size_t(i * k + c)];
        // Ties and near ties: with the float arithmetic that the definition leaves open.
        const float t = v * static_cast<float>(1 / scale);
        const double q = std::clamp<double>(std::nearbyint(t), bottom - zero, top - zero);
        sum += double{row[size_t(c)]} * (std::fabs(v) > grid.outliers ? v : q * scale);
      }
      y[size_t(i * n + j)] = sum;
    }
  }
  return y;
}

void expect_near(const std::vector<float>& y, const std::vector<double>& wanted, double tolerance) {
  double size = 0;
  for (const double v : wanted) size = std::max(size, std::fabs(v));
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], wanted[i], tolerance * size) << i;
}

std::vector<ActivationGrid> grids() {
  constexpr float none = std::numeric_limits<float>::infinity();
  return {{},
          {8, true},
          {8, false, Range::tensor},
          {8, true, Range::tensor},
          {8, false, Range::fixed, -2, 3},
          {8, true, Range::fixed, -1, 2.5f, none},
          {8, false, Range::token, 0, 0, 2},
          {4},
          {4, true, Range::token, 0, 0, 2.5f},
          {2}};
}

TEST(Int8Matmul, IsTheProductOfRoundedActivationsAtEveryLevel) {
  const KeepLevel keep;
  for (const char* word : words) {
    for (const auto& [m, n, k] :
         {std::array<int64_t, 3>{1, 40, 384}, {13, 33, 640}, {19, 5, 128}, {70, 48, 128}}) {
      const Matrix w = weights(word, n, k);
      ASSERT_TRUE(Int8Matrix::possible(w));
      auto x = gaussian(m * k, 3);
      x[5] = 9;
      for (const ActivationGrid& grid : grids()) {
        SCOPED_TRACE(fmt::format("{} m {} n {} k {} bits {} range {} {}", word, m, n, k, grid.bits,
                                 static_cast<int>(grid.range), grid.asymmetric));
        const auto wanted = reference(w, grid, x, m);
        std::vector<float> first;
        for (const IsaLevel level : isa_levels()) {
          set_isa_level(level);
          for (const int threads : {1, 3}) {
            ThreadPool pool(threads);
            const Int8Matrix whole(w, 0, n, pool);
            std::vector<float> y(static_cast<size_t>(m * n), NAN);
            int8_matmul(whole, grid, x.data(), m, nullptr, y.data(), n, pool);
            if (first.empty()) {
              expect_near(y, wanted, 2e-3);
              first = y;
            }
            ASSERT_EQ(y, first) << isa_name(level) << ", " << threads << " threads";
          }
        }
        // The float product of the same rounded activations is the same but for its own rounding.
        ThreadPool pool(2);
        std::vector<float> rounded(x.size()), y(first.size());
        round_to_grid(grid, x.data(), m, k, rounded.data(), pool);
        matmul(w, 0, n, rounded.data(), m, y.data(), n, pool);
        expect_near(first, {y.begin(), y.end()}, 2e-5);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Int8Matmul, SumsOfTheLargestNumbersAreExact) {
  const KeepLevel keep;
  ThreadPool pool(1);
  constexpr int64_t k = 32768;
  // Codes of -128 and activations of 127 or -128: nothing may saturate or wrap on the way.
  QTensor t = encode_nearest(format_of("int8:channel:f32:minmax"), {1, k}, std::vector<float>(k, 1.0f));
  std::vector<int8_t> codes(k, -128);
  const float scale = 1;
  t.planes[0].bytes = std::as_bytes(std::span<const int8_t>(codes));
  t.planes[1].bytes = std::as_bytes(std::span<const float>(&scale, 1));
  const Matrix w(t, "w");
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const Int8Matrix whole(w, 0, 1, pool);
    for (const float v : {127.0f, -127.0f}) {
      // One token, and as many as tiles take.
      for (const int64_t m : {1, 4, 17}) {
        const std::vector<float> same(static_cast<size_t>(m * k), v);
        std::vector<float> all(static_cast<size_t>(m));
        int8_matmul(whole, {}, same.data(), m, nullptr, all.data(), 1, pool);
        EXPECT_EQ(all, std::vector<float>(all.size(), -128.0f * v * k)) << isa_name(level) << " " << m;
      }
      float y = 0;
      std::vector<float> mixed(k, v);
      mixed[0] = v < 0 ? 128.0f : -128.0f;
      int8_matmul(whole, {.asymmetric = true, .range = Range::fixed, .low = -128, .high = 127}, mixed.data(),
                  1, nullptr, &y, 1, pool);
      EXPECT_NEAR(y, -128.0f * v * k, 128 * 255) << isa_name(level);
    }
  }
}

TEST(Int8Matmul, OddSizesAndSlicesAndBias) {
  const KeepLevel keep;
  ThreadPool pool(2);
  const Matrix w = weights("int8:channel", 50, 77);
  const auto bias = gaussian(50, 6);
  // Rows of y that begin at a line of the cache and rows that do not.
  for (const size_t stride : {25, 32}) {
    for (const size_t m : {3, 4, 16, 17, 49}) {
      const auto x = gaussian(static_cast<int64_t>(m) * 77, 5);
      const auto wanted = reference(w, {}, x, static_cast<int64_t>(m));
      std::vector<float> first;
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        const Int8Matrix part(w, 20, 19, pool);
        HugeMemory memory;
        const auto room = memory.take(m * stride * sizeof(float));
        auto* y = reinterpret_cast<float*>(room.get());
        std::fill_n(y, m * stride, 7.0f);
        int8_matmul(part, {}, x.data(), static_cast<int64_t>(m), bias.data() + 20, y,
                    static_cast<int64_t>(stride), pool);
        for (size_t i = 0; i < m; ++i) {
          for (size_t j = 0; j < 19; ++j)
            ASSERT_NEAR(y[i * stride + j], wanted[i * 50 + 20 + j] + double{bias[20 + j]}, 2e-3)
                << i << " " << j;
          for (size_t j = 19; j < stride; ++j) ASSERT_EQ(y[i * stride + j], 7.0f);
        }
        const std::vector<float> all(y, y + m * stride);
        if (first.empty()) first = all;
        ASSERT_EQ(all, first) << isa_name(level);
      }
    }
  }
}

// Several matrices with the same x, with activations on top, are what each is by itself.
TEST(Int8Matmul, PartsAndActivationsChangeNoBit) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const char* word : {"int8:channel", "int8:g128:asym"}) {
    const Matrix a = weights(word, 50, 256), b = weights(word, 21, 256);
    const auto bias = gaussian(50, 6);
    for (const int64_t m : {1, 5, 40}) {
      const auto x = gaussian(m * 256, 5);
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        const Int8Matrix first(a, 0, 50, pool), second(b, 0, 21, pool);
        ASSERT_TRUE(first.reads_like(second));
        for (const ActivationGrid& grid : grids()) {
          std::vector<float> y(static_cast<size_t>(m) * 50), z(static_cast<size_t>(m) * 21);
          int8_matmul(first, grid, x.data(), m, bias.data(), y.data(), 50, pool);
          int8_matmul(second, grid, x.data(), m, nullptr, z.data(), 21, pool);
          for (const ActivationKind kind : {ActivationKind::silu, ActivationKind::gelu_tanh,
                                            ActivationKind::gelu_erf, ActivationKind::relu}) {
            std::vector<float> wanted(y.size()), got(y.size(), NAN), other(z.size(), NAN);
            activate(kind, y.data(), nullptr, wanted.data(), static_cast<int64_t>(y.size()));
            const std::array<Int8Part, 2> parts{Int8Part{&first, bias.data(), got.data(), 50, kind},
                                                Int8Part{&second, nullptr, other.data(), 21, {}}};
            int8_matmul(parts, grid, x.data(), m, pool);
            ASSERT_EQ(got, wanted) << word << " " << m << " " << isa_name(level);
            ASSERT_EQ(other, z) << word << " " << m << " " << isa_name(level);
          }
        }
      }
    }
  }
  const Matrix wide = weights("int8:channel", 4, 512), narrow = weights("int8:channel", 4, 256);
  const Int8Matrix one(wide, 0, 4, pool), other(narrow, 0, 4, pool);
  std::vector<float> x(512), y(8);
  const std::array<Int8Part, 2> parts{Int8Part{&one, nullptr, y.data(), 4, {}},
                                      Int8Part{&other, nullptr, y.data() + 4, 4, {}}};
  EXPECT_THROW(int8_matmul(parts, {}, x.data(), 1, pool), Error);
}

TEST(Int8Matmul, NanAndInfinityReachTheResultOfTheirRowOnly) {
  const KeepLevel keep;
  ThreadPool pool(1);
  const Matrix w = weights("int8:channel", 4, 64);
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const Int8Matrix whole(w, 0, 4, pool);
    for (const ActivationGrid& grid : grids()) {
      for (const float bad : {NAN, INFINITY, -INFINITY}) {
        auto x = gaussian(2 * 64, 3);
        x[40] = bad;
        std::vector<float> y(8);
        int8_matmul(whole, grid, x.data(), 2, nullptr, y.data(), 4, pool);
        EXPECT_FALSE(std::isfinite(y[0])) << isa_name(level);
        EXPECT_TRUE(std::isfinite(y[4])) << isa_name(level);
        std::vector<float> rounded(x.size());
        round_to_grid(grid, x.data(), 2, 64, rounded.data(), pool);
        EXPECT_FALSE(std::isfinite(rounded[40]));
        EXPECT_TRUE(std::isfinite(rounded[64 + 40]));
      }
    }
  }
}

TEST(Int8Matmul, ZerosAndTinyValuesAreHarmless) {
  ThreadPool pool(1);
  const Matrix w = weights("int8:channel", 4, 64);
  const Int8Matrix whole(w, 0, 4, pool);
  for (const ActivationGrid& grid : grids()) {
    for (const float v : {0.0f, 1e-42f}) {
      const std::vector<float> x(64, v);
      std::vector<float> y(4, NAN);
      int8_matmul(whole, grid, x.data(), 1, nullptr, y.data(), 4, pool);
      for (const float out : y) EXPECT_NEAR(out, 0, 0.5);
    }
  }
}

}  // namespace
}  // namespace nibble
