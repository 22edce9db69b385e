// How ggml's block formats choose parameters: nearest codes, no worse than exhaustive search where that is
// possible, limits of the stored numbers, importance.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "formats/block_format.h"
#include "formats/fp4.h"
#include "formats/ggml_legacy.h"
#include "formats/iq4.h"
#include "formats/kquant.h"
#include "formats/kquant_signed.h"
#include "formats/ternary.h"
#include "support/data.h"

namespace nibble {
namespace {

template <class F>
constexpr int codes_of = 0;
template <>
constexpr int codes_of<Q1_0> = 2;
template <>
constexpr int codes_of<Q2_0> = 4;
template <>
constexpr int codes_of<TQ1_0> = 3;
template <>
constexpr int codes_of<TQ2_0> = 3;
template <>
constexpr int codes_of<Q2_K> = 4;
template <>
constexpr int codes_of<Q3_K> = 8;
template <>
constexpr int codes_of<Q4_0> = 16;
template <>
constexpr int codes_of<Q4_1> = 16;
template <>
constexpr int codes_of<Q4_K> = 16;
template <>
constexpr int codes_of<IQ4_NL> = 16;
template <>
constexpr int codes_of<IQ4_XS> = 16;
template <>
constexpr int codes_of<MXFP4> = 16;
template <>
constexpr int codes_of<NVFP4> = 16;
template <>
constexpr int codes_of<Q5_0> = 32;
template <>
constexpr int codes_of<Q5_1> = 32;
template <>
constexpr int codes_of<Q5_K> = 32;
template <>
constexpr int codes_of<Q6_K> = 64;
template <>
constexpr int codes_of<Q8_0> = 255;
template <>
constexpr int codes_of<Q8_K> = 255;

using Encodable = testing::Types<Q1_0, Q2_0, TQ1_0, TQ2_0, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, IQ4_NL, IQ4_XS,
                                 MXFP4, NVFP4, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, Q8_K>;

std::vector<float> normal(size_t n, double deviation, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(rng.normal() * deviation);
  return x;
}

template <class F>
std::vector<float> through(const std::vector<float>& x, const std::vector<float>& importance = {}) {
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); i += F::info.block) {
    const auto p = F::fit(x.data() + i, importance.empty() ? nullptr : importance.data() + i);
    for (size_t k = 0; k < F::info.block; ++k) {
      y[i + k] = F::value(F::round(x[i + k], p, static_cast<int>(k)), p, static_cast<int>(k));
    }
  }
  return y;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y,
                     const std::vector<float>& importance = {}) {
  double e = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    e += std::pow(double{x[i]} - y[i], 2) * (importance.empty() ? 1.0 : double{importance[i]});
  }
  return e;
}

template <class F>
class GgmlFit : public testing::Test {};
TYPED_TEST_SUITE(GgmlFit, Encodable);

TYPED_TEST(GgmlFit, RoundPicksANearestCode) {
  using F = TypeParam;
  const auto x = normal(F::info.block, 0.02, 1);
  const auto p = F::fit(x.data(), nullptr);
  const auto other = normal(F::info.block, 0.03, 2);  // as error feedback would ask: not the weights fitted
  for (int i = 0; i < F::info.block; ++i) {
    const float v = other[static_cast<size_t>(i)];
    const Code c = F::round(v, p, i);
    ASSERT_GE(c, 0);
    ASSERT_LT(c, codes_of<F>);
    float least = INFINITY;
    for (Code k = 0; k < codes_of<F>; ++k) least = std::min(least, std::fabs(v - F::value(k, p, i)));
    // A weight half way between two values may go either way; the reciprocal of the scale is rounded.
    ASSERT_LE(std::fabs(v - F::value(c, p, i)), least * 1.0001f + 1e-7f) << "weight " << i << " = " << v;
  }
}

TYPED_TEST(GgmlFit, ZerosStayZero) {
  const std::vector<float> zeros(256, 0.0f);
  EXPECT_EQ(squared_error(zeros, through<TypeParam>(zeros)), 0.0);
}

TYPED_TEST(GgmlFit, AnyMagnitudeStaysFiniteAndNoWorseThanNothing) {
  for (const double deviation : {1e-44, 1e-38, 1e-20, 1e-8, 1e-6, 1e-3, 1.0, 1e3, 1e5, 1e8, 1e20, 6e37}) {
    auto x = normal(512, deviation, 3);
    for (float& v : x) v = std::clamp(v, -3e38f, 3e38f);
    const auto y = through<TypeParam>(x);
    for (const float v : y) ASSERT_TRUE(std::isfinite(v)) << deviation;
    EXPECT_LE(squared_error(x, y), squared_error(x, std::vector<float>(x.size(), 0.0f)) * 1.0001)
        << deviation;
  }
}

TYPED_TEST(GgmlFit, PowersOfTwoPassThrough) {
  const auto x = normal(256, 0.7, 4);
  auto doubled = x;
  for (float& v : doubled) v *= 8;
  const auto y = through<TypeParam>(x), z = through<TypeParam>(doubled);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i] * 8, z[i]) << i;
}

TYPED_TEST(GgmlFit, ImportanceLowersTheErrorItWeighs) {
  const auto x = normal(8192, 0.02, 5);
  std::vector<float> w(x.size());
  for (size_t i = 0; i < w.size(); ++i) w[i] = i % 8 == 0 ? 50.0f : 0.5f;
  EXPECT_LE(squared_error(x, through<TypeParam>(x, w), w), squared_error(x, through<TypeParam>(x), w));
}

// A calibration text may leave columns without any activation; their weights are not free to become anything.
TYPED_TEST(GgmlFit, WeightsWithoutImportanceKeepTheirSize) {
  const auto x = normal(8192, 0.02, 9);
  std::vector<float> w(x.size());
  for (size_t i = 0; i < w.size(); ++i) w[i] = i / 32 % 2 == 0 ? 1.0f : 0.0f;
  EXPECT_LE(squared_error(x, through<TypeParam>(x, w)), 1.5 * squared_error(x, through<TypeParam>(x)));
}

/// Formats whose fit has weights of its own where none are given (plain_weights.h).
template <class F>
constexpr bool weighs_by_itself = std::is_same_v<F, Q2_K> || std::is_same_v<F, Q3_K>;

TYPED_TEST(GgmlFit, EvenImportanceIsTheSquaredErrorItself) {
  const auto x = normal(512, 0.02, 6);
  const auto y = through<TypeParam>(x, std::vector<float>(x.size(), 1.0f));
  for (const float all : {0.0f, 1024.0f, 0x1p-60f}) {
    EXPECT_EQ(through<TypeParam>(x, std::vector<float>(x.size(), all)), y) << all;
  }
  const auto plain = through<TypeParam>(x);
  if (!weighs_by_itself<TypeParam>) {
    EXPECT_EQ(plain, y);
  } else {
    // The plain fit pays a little squared error for a length that does not shrink.
    const std::vector<float> zero(x.size());
    const double power = squared_error(x, zero);
    EXPECT_LT(squared_error(x, y), squared_error(x, plain));
    EXPECT_LT(squared_error(x, plain), squared_error(x, y) * 1.09);
    EXPECT_LT(squared_error(y, zero), 0.985 * power);
    EXPECT_NEAR(squared_error(plain, zero), power, 0.01 * power);
  }
  // Weights out of all bounds are no reason to fail.
  for (const float all : {1e-42f, 3e38f}) {
    for (const float v : through<TypeParam>(x, std::vector<float>(x.size(), all)))
      ASSERT_TRUE(std::isfinite(v));
  }
}

// The rows of the golden input are made to be hard: outliers, one sign only, steps, two values, ternary.
TYPED_TEST(GgmlFit, HardRowsLoseNoMoreThanGgmls) {
  using F = TypeParam;
  const auto folder = test::source_dir() / "tests/data/goldens/ggml";
  const auto file = folder / (std::string(F::info.name) + ".bin");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "ggml has no golden for " << F::info.name;
  std::vector<float> x(4096), theirs(x.size());
  std::ifstream(folder / "input.f32", std::ios::binary)
      .read(reinterpret_cast<char*>(x.data()), static_cast<std::streamsize>(x.size() * sizeof(float)));
  std::ifstream in(file, std::ios::binary);
  in.seekg(32);
  for (size_t i = 0; i < x.size(); i += F::info.block) {
    typename F::Block b;
    in.read(reinterpret_cast<char*>(&b), sizeof b);
    F::decode(b, theirs.data() + i);
  }
  ASSERT_TRUE(in.good());
  const auto ours = through<F>(x);
  for (size_t r = 0; r < x.size(); r += 256) {
    const auto row = [r](const std::vector<float>& v) {
      return std::vector<float>(v.begin() + static_cast<ptrdiff_t>(r),
                                v.begin() + static_cast<ptrdiff_t>(r + 256));
    };
    const double power = squared_error(row(x), std::vector<float>(256, 0.0f));
    // 1 % above, or below what f16 scales resolve: which representable scale is luckier is no one's merit.
    EXPECT_LE(squared_error(row(x), row(ours)), squared_error(row(x), row(theirs)) * 1.01 + power * 0x1p-22)
        << "row " << r / 256;
  }
}

// --- against exhaustive search over all stored scales

/// Squared error of the best of all 2^16 scales for one block, with nearest codes.
template <class F>
double best_of_all_scales(const std::vector<float>& x) {
  double best = INFINITY;
  for (uint32_t h = 0; h < 0x10000; ++h) {
    if ((h & 0x7c00) == 0x7c00 || (h & 0x7fff) < 0x0400) continue;
    const auto p = F::Params::of(static_cast<uint16_t>(h));
    double e = 0;
    for (int i = 0; i < F::info.block && e < best; ++i) {
      e += std::pow(
          double{x[static_cast<size_t>(i)]} - F::value(F::round(x[static_cast<size_t>(i)], p, i), p, i), 2);
    }
    best = std::min(best, e);
  }
  return best;
}

template <class F>
void expect_near_best(double factor) {
  double ours = 0, best = 0;
  for (uint64_t seed = 10; seed < 14; ++seed) {
    const auto x = normal(F::info.block, 0.02, seed);
    ours += squared_error(x, through<F>(x));
    best += best_of_all_scales<F>(x);
  }
  EXPECT_LE(ours, best * factor) << F::info.name;
  EXPECT_GE(ours, best * 0.999999) << F::info.name;
}

TEST(GgmlScales, AreNearlyTheBestOfAll) {
  expect_near_best<Q4_0>(1.01);
  expect_near_best<Q5_0>(1.02);
  expect_near_best<Q8_0>(1.10);  // where local minima lie densest, a coarse search loses most
  expect_near_best<Q1_0>(1.0001);
  expect_near_best<TQ2_0>(1.0001);
}

TEST(GgmlScales, Mxfp4TriesEveryExponentWorthTrying) {
  for (uint64_t seed = 20; seed < 60; ++seed) {
    const auto x = normal(32, std::exp2(static_cast<double>(seed) - 40), seed);
    double best = INFINITY;
    for (int e = 2; e <= 252; ++e) {
      const float d = MXFP4::half_scale(static_cast<uint8_t>(e));
      const MXFP4::Params p{d, 1 / d, static_cast<uint8_t>(e)};
      double sum = 0;
      for (int i = 0; i < 32; ++i) {
        const float v = x[static_cast<size_t>(i)];
        sum += std::pow(double{v} - MXFP4::value(MXFP4::round(v, p, i), p, i), 2);
      }
      best = std::min(best, sum);
    }
    EXPECT_LE(squared_error(x, through<MXFP4>(x)), best * 1.00001) << "seed " << seed;
  }
}

TEST(GgmlScales, Nvfp4TriesEveryScaleWorthTrying) {
  for (uint64_t seed = 20; seed < 60; ++seed) {
    const auto x = normal(64, std::exp2((static_cast<double>(seed) - 40) / 2), seed);
    double best = 0;
    for (int j = 0; j < 4; ++j) {
      double least = INFINITY;
      for (int code = 1; code < 0x7f; ++code) {
        NVFP4::Params p{};
        p.d[j] = NVFP4::half_scale(static_cast<uint8_t>(code));
        p.inverse[j] = 1 / p.d[j];
        double sum = 0;
        for (int i = 16 * j; i < 16 * j + 16; ++i) {
          const float v = x[static_cast<size_t>(i)];
          sum += std::pow(double{v} - NVFP4::value(NVFP4::round(v, p, i), p, i), 2);
        }
        least = std::min(least, sum);
      }
      best += least;
    }
    EXPECT_LE(squared_error(x, through<NVFP4>(x)), best * 1.00001) << "seed " << seed;
  }
}

// --- single facts

TEST(Q8K, StoresTheSumsOfSixteenCodes) {
  const auto x = normal(256, 1.0, 7);
  const auto p = Q8_K::fit(x.data(), nullptr);
  std::vector<Code> codes(256);
  for (int i = 0; i < 256; ++i) codes[static_cast<size_t>(i)] = Q8_K::round(x[static_cast<size_t>(i)], p, i);
  Q8_K::Block b{};
  Q8_K::pack(codes.data(), p, b);
  for (int j = 0; j < 16; ++j) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += b.q[16 * j + i];
    EXPECT_EQ(b.sums[j], sum);
  }
}

TEST(KQuants, WeightsAboveZeroTakeANegativeOffset) {
  std::vector<float> x = normal(256, 0.05, 8);
  for (float& v : x) v += 3.0f;
  // Without an offset of that sign the grid of 16 would have to span [0, 3.2].
  EXPECT_LT(std::sqrt(squared_error(x, through<Q4_K>(x)) / 256), 0.01);
}

TEST(ReadOnlyFormats, RefuseToWrite) {
  const std::vector<float> x(256, 1.0f);
  EXPECT_THROW(encode_nearest(format_of("iq2_xxs"), Shape{256}, x), Error);
}

}  // namespace
}  // namespace nibble
