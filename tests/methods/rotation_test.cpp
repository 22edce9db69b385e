#include "methods/transforms/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "methods/transforms/channel_scales.h"
#include "methods/transforms/smoothquant.h"

namespace nibble {
namespace {

std::vector<float> random(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(rng.normal());
  return x;
}

TEST(Rotation, KeepsLengthsAndAngles) {
  ThreadPool pool(2);
  for (const int64_t n : {1, 2, 3, 12, 64, 96, 512, 704}) {
    const Rotation turn(n, 7);
    // Rows of the unit matrix become R itself.
    std::vector<float> r(static_cast<size_t>(n * n));
    for (int64_t i = 0; i < n; ++i) r[static_cast<size_t>(i * n + i)] = 1;
    turn.turn_rows(r, pool);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < n; ++k) dot += double{r[size_t(i * n + k)]} * r[size_t(j * n + k)];
        ASSERT_NEAR(dot, i == j, 1e-6) << n;
      }
    }
  }
}

TEST(Rotation, ReadersOfTurnedValuesGiveWhatTheyGave) {
  ThreadPool pool(2);
  constexpr size_t n = 96, rows = 5, cols = 7;
  const Rotation turn(n, 3);
  const std::vector<float> writer = random(n * cols, 1), reader = random(rows * n, 2), h = random(cols, 3);
  const auto through = [&](const std::vector<float>& w, const std::vector<float>& r) {
    std::vector<double> x(n), y(rows);
    for (size_t i = 0; i < n; ++i) {
      for (size_t c = 0; c < cols; ++c) x[i] += double{w[i * cols + c]} * h[c];
    }
    for (size_t j = 0; j < rows; ++j) {
      for (size_t i = 0; i < n; ++i) y[j] += x[i] * r[j * n + i];
    }
    return y;
  };
  auto turned_writer = writer, turned_reader = reader;
  turn.turn_columns(turned_writer, pool);
  turn.turn_rows(turned_reader, pool);
  const auto before = through(writer, reader), after = through(turned_writer, turned_reader);
  for (size_t j = 0; j < rows; ++j) EXPECT_NEAR(before[j], after[j], 1e-4);
}

TEST(Rotation, SpreadsOneChannelOverAll) {
  ThreadPool pool(1);
  for (const int64_t n : {512, 768}) {
    const Rotation turn(n, 1);
    std::vector<float> x(static_cast<size_t>(n));
    x[17] = 100;
    turn.turn_rows(x, pool);
    float most = 0;
    for (const float v : x) most = std::max(most, std::fabs(v));
    EXPECT_LT(most, 100 * 1.1 / std::sqrt(n == 512 ? 512 : 256));
  }
}

TEST(Rotation, IsTheSameForTheSameSeedAndRefusesWhatDoesNotFit) {
  ThreadPool one(1), three(3);
  auto a = random(4 * 48, 1), b = a;
  const auto before = a;
  Rotation(48, 5).turn_rows(a, one);
  Rotation(48, 5).turn_rows(b, three);
  EXPECT_EQ(a, b);
  b = before;
  Rotation(48, 6).turn_rows(b, one);
  EXPECT_NE(a, b);
  EXPECT_THROW(Rotation(0, 1), Error);
  EXPECT_THROW(Rotation(5003, 1), Error);
  EXPECT_THROW(Rotation(32, 1).turn_rows(a = std::vector<float>(33), one), Error);
}

TEST(SmoothScales, EvenOutInputsAndWeights) {
  const std::vector<float> x{100, 1, 0, 4}, w{1, 1, 3, 0.25f};
  const auto s = smooth_scales(x, w);
  EXPECT_NEAR(s[0], 10, 0.05);
  EXPECT_EQ(s[1], 1);
  EXPECT_EQ(s[2], 1) << "never used";
  EXPECT_NEAR(s[3], 4, 0.02);
  for (size_t j : {0, 1, 3}) EXPECT_NEAR(x[j] / s[j], w[j] * s[j], 0.01 * w[j] * s[j]);
  EXPECT_NEAR(smooth_scales(x, w, 1)[0], 100, 0.5);
  EXPECT_THROW(smooth_scales(x, std::vector<float>(3)), Error);
  EXPECT_THROW(smooth_scales(x, w, 1.5), Error);
  EXPECT_THROW(smooth_scales(std::vector<float>{NAN}, std::vector<float>{1}), Error);
}

TEST(SmoothScales, ColumnMaximaAreOverAllReaders) {
  std::vector<float> maxima(3);
  raise_column_maxima(std::vector<float>{1, -5, 2, -3, 4, 0}, maxima);
  raise_column_maxima(std::vector<float>{0, 0, 2.5f}, maxima);
  EXPECT_EQ(maxima, (std::vector<float>{3, 5, 2.5f}));
}

}  // namespace
}  // namespace nibble
