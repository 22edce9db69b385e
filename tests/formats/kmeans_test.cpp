// Weight sharing: 1-D k-means against exhaustive search and the known optimum for the normal distribution.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/rng.h"
#include "formats/format.h"
#include "formats/kmeans1d.h"
#include "support/gaussian.h"

namespace nibble {
namespace {

using test::gaussian;

double distortion(std::span<const float> x, std::span<const float> w, std::span<const float> centres) {
  double e = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    double best = 1e300;
    for (const float c : centres) best = std::min(best, std::pow(double(x[i]) - c, 2));
    e += best * (w.empty() ? 1.0 : w[i % w.size()]);
  }
  return e;
}

// Least cost over every way to cut sorted points into k runs.
double exhaustive(const std::vector<std::pair<float, float>>& p, size_t from, int k) {
  const auto run = [&](size_t a, size_t b) {
    double sw = 0, sx = 0, e = 0;
    for (size_t i = a; i < b; ++i) sw += p[i].second, sx += double(p[i].second) * p[i].first;
    for (size_t i = a; i < b; ++i) e += p[i].second * std::pow(p[i].first - sx / sw, 2);
    return e;
  };
  if (k == 1) return run(from, p.size());
  double best = 1e300;
  for (size_t cut = from + 1; cut + static_cast<size_t>(k) - 1 <= p.size(); ++cut)
    best = std::min(best, run(from, cut) + exhaustive(p, cut, k - 1));
  return best;
}

TEST(Kmeans1d, OptimalOnSmallInputs) {
  Rng rng(1);
  for (int trial = 0; trial < 60; ++trial) {
    const auto n = 5 + rng.below(9);
    const int k = 2 + static_cast<int>(rng.below(4));
    std::vector<float> x, w;
    std::vector<std::pair<float, float>> p;
    for (uint64_t i = 0; i < n; ++i) {
      x.push_back(static_cast<float>(100.0 + rng.normal()));
      w.push_back(trial % 2 == 0 ? 1.0f : static_cast<float>(rng.uniform() + 0.01));
      p.emplace_back(x.back(), w.back());
    }
    std::sort(p.begin(), p.end());
    const auto centres = kmeans_1d(x, w, k, 512);
    EXPECT_NEAR(distortion(x, w, centres), exhaustive(p, 0, k), 1e-4) << "n " << n << " k " << k;
  }
}

TEST(Kmeans1d, MergedCellsComeCloseToTheOptimum) {
  const auto x = gaussian(3000, 2);
  for (const int k : {2, 5, 16, 40}) {
    const double exact = distortion(x, {}, kmeans_1d(x, {}, k, 3000));
    EXPECT_LE(distortion(x, {}, kmeans_1d(x, {}, k, 256)), exact * 1.01) << k;
  }
}

// Max 1960, "Quantizing for minimum distortion", table I: mean squared error of the optimum for N(0, 1).
TEST(Kmeans1d, LloydMaxErrorOfTheNormalDistribution) {
  const auto x = gaussian(60000, 3);
  const std::pair<int, double> rows[] = {{2, 0.3634}, {4, 0.1175}, {8, 0.03454}, {16, 0.009497}};
  for (const auto& [k, error] : rows)
    EXPECT_NEAR(distortion(x, {}, kmeans_1d(x, {}, k, 1024)) / 60000, error, 0.03 * error) << k;
}

TEST(Kmeans1d, FewerPointsThanCentres) {
  const std::vector<float> x = {3, 1, 3, 2};
  EXPECT_EQ(kmeans_1d(x, {}, 5, 512), (std::vector<float>{1, 2, 3, 3, 3}));
  EXPECT_EQ(kmeans_1d({}, {}, 2, 512), (std::vector<float>{0, 0}));
  const std::vector<float> none = {0, 0, 0, 0};
  EXPECT_EQ(kmeans_1d(x, none, 3, 512), (std::vector<float>{1, 2, 3}));
  const std::vector<float> one = {0, 1, 0, 0};
  EXPECT_EQ(kmeans_1d(x, one, 2, 512), (std::vector<float>{1, 1}));
}

std::vector<float> through(const std::string& word, const Shape& shape, const std::vector<float>& x,
                           const std::vector<float>& w = {}) {
  const QTensor t = encode_nearest(format_of(word), shape, x, w);
  std::vector<float> y(x.size());
  decode_range(t, 0, shape.elements(), y.data());
  return y;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y,
                     const std::vector<float>& w = {}) {
  double e = 0;
  for (size_t i = 0; i < x.size(); ++i)
    e += std::pow(double(x[i]) - y[i], 2) * (w.empty() ? 1.0 : w[i % w.size()]);
  return e;
}

TEST(Kmeans, AtMostNDifferentWeights) {
  const Shape shape{6, 300};
  const auto x = gaussian(shape.elements(), 5, 0.02);
  for (const int n : {2, 3, 10, 16, 100, 256}) {
    const auto tensor = through(fmt::format("kmeans{}:tensor", n), shape, x);
    EXPECT_LE(std::set<float>(tensor.begin(), tensor.end()).size(), static_cast<size_t>(n));
    const auto channel = through(fmt::format("kmeans{}:channel", n), shape, x);
    for (int row = 0; row < 6; ++row) {
      const std::set<float> values(channel.begin() + row * 300, channel.begin() + (row + 1) * 300);
      EXPECT_LE(values.size(), static_cast<size_t>(n));
    }
    EXPECT_LT(squared_error(x, channel), squared_error(x, tensor));
  }
}

TEST(Kmeans, FewValuesComeBackExactly) {
  std::vector<float> x(400);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::vector<float>{-0.5f, 0.0f, 0.25f, 1.75f, 2.0f}[i * 7 % 5];
  for (const char* word : {"kmeans5:tensor", "kmeans8:channel", "kmeans256:g100"})
    EXPECT_EQ(through(word, Shape{4, 100}, x), x);
}

TEST(Kmeans, TensorCodebookIsNearThatOfAllValues) {
  auto x = gaussian(16384, 7, 0.02);
  x[5] = 1.0f;  // makes the bins of the histogram wide
  for (const int n : {4, 16, 64}) {
    const double coarse = squared_error(x, through(fmt::format("kmeans{}:tensor:f32", n), Shape{64, 256}, x));
    const double fine = distortion(x, {}, kmeans_1d(x, {}, n, 2048));
    EXPECT_LE(coarse, fine * 1.02) << n;
  }
}

TEST(Kmeans, ImportanceLowersTheWeightedError) {
  const Shape shape{8, 256};
  const auto x = gaussian(shape.elements(), 8);
  Rng rng(9);
  std::vector<float> w(256);
  for (float& v : w) v = static_cast<float>(std::exp(2 * rng.normal()));
  for (const char* word : {"kmeans4:channel", "kmeans16:g128"})
    EXPECT_LT(squared_error(x, through(word, shape, x, w), w), squared_error(x, through(word, shape, x), w))
        << word;
}

TEST(Kmeans, PlanesAndOddShapes) {
  const auto info = format_of("kmeans10:channel").planes(Shape{3, 5, 7});
  EXPECT_EQ(info[0].shape, (Shape{3, 5, 4}));  // 7 codes of 4 bits
  EXPECT_EQ(info[1].shape, (Shape{3, 5, 1, 10}));
  EXPECT_EQ(info[1].dtype, DType::f16);
  EXPECT_EQ(format_of("kmeans16").planes(Shape{5, 100})[1].shape, (Shape{16}));
  for (const Shape& shape : {Shape{5, 3}, Shape{33}, Shape{0, 4}, Shape{}}) {
    const auto x = gaussian(shape.elements(), 11);
    for (const char* word : {"kmeans4:channel", "kmeans4:tensor"}) {
      const auto y = through(word, shape, x);
      EXPECT_LE(squared_error(x, y), 0.3 * squared_error(x, std::vector<float>(x.size()))) << word;
    }
  }
}

TEST(Kmeans, WordsHaveOneSpelling) {
  EXPECT_EQ(format_of("kmeans16").spec().to_string(), "kmeans16:tensor");
  EXPECT_EQ(format_of("kmeans7:f32:g64").spec().to_string(), "kmeans7:g64:f32");
  for (const char* bad : {"kmeans", "kmeans1", "kmeans257", "kmeans016", "kmeansx", "kmeans16:asym"})
    EXPECT_THROW(format_of(bad), Error) << bad;
}

}  // namespace
}  // namespace nibble
