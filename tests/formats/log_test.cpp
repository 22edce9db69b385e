// Logarithmic levels: the powers of two by hand, and the choice of ratio and scale.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "formats/format.h"

namespace nibble {
namespace {

std::vector<float> gaussian(int64_t n, uint64_t seed, double scale = 0.02) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * scale);
  return x;
}

std::vector<float> decoded(const QTensor& t) {
  std::vector<float> y(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), y.data());
  return y;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y,
                     const std::vector<float>& w = {}) {
  double e = 0;
  for (size_t i = 0; i < x.size(); ++i)
    e += std::pow(double(x[i]) - y[i], 2) * (w.empty() ? 1.0 : w[i % w.size()]);
  return e;
}

double error_of(const char* word, const Shape& shape, const std::vector<float>& x,
                const std::vector<float>& w = {}) {
  return squared_error(x, decoded(encode_nearest(format_of(word), shape, x, w)), w);
}

TEST(Log, PowersOfTwoComeBackExactly) {
  // log4: sign and 7 magnitudes, here 8, 4, 2, 1, 1/2, 1/4, 1/8, and zero.
  const std::vector<float> x = {8, -4, 2, -1, 0.5f, -0.25f, 0.125f, 0};
  for (const char* word : {"log4:channel:pow2", "log4:tensor:pow2", "log4:g8:pow2:f32"}) {
    const QTensor t = encode_nearest(format_of(word), Shape{8}, x);
    EXPECT_EQ(decoded(t), x) << word;
    ASSERT_EQ(t.planes.size(), 2u);
    // Codes 7, 8+6, 5, 8+4, 3, 8+2, 1, 0, the first in the low half.
    const int bytes[4] = {0xe7, 0xc5, 0xa3, 0x01};
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(static_cast<int>(t.planes[0].bytes[i]), bytes[i]) << word;
  }
}

TEST(Log, EveryLevelIsThePreviousTimesTheRatio) {
  const Format& f = format_of("log5:channel");
  QTensor t = encode_nearest(f, Shape{2, 16}, gaussian(32, 1));
  std::vector<std::byte> codes;
  for (int k = 0; k < 32; k += 8) {
    uint64_t v = 0;
    for (int j = 0; j < 8; ++j) v |= static_cast<uint64_t>(k + j) << (5 * j);
    for (int j = 0; j < 5; ++j) codes.push_back(static_cast<std::byte>(v >> (8 * j)));
  }
  t.planes[0].bytes = codes;  // row 0: codes 0 ... 15, row 1: codes 16 ... 31
  float ratio;
  std::memcpy(&ratio, t.planes[2].bytes.data(), 4);
  EXPECT_GT(ratio, 0.4f);
  EXPECT_LT(ratio, 0.95f);
  const auto y = decoded(t);
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[16], 0.0f);
  for (size_t k = 1; k < 15; ++k) {
    EXPECT_NEAR(y[k] / y[k + 1], ratio, 1e-5);
    EXPECT_NEAR(y[16 + k] / y[16 + k + 1], ratio, 1e-5);
  }
  EXPECT_GT(y[15], 0);
  EXPECT_LT(y[31], 0);
}

TEST(Log, ChosenRatioBeatsBothBasesOfThePaper) {
  const Shape shape{32, 512};
  const auto x = gaussian(shape.elements(), 2);
  for (const std::string bits : {"4", "5", "6"}) {
    for (const std::string where : {":channel", ":g64", ":tensor"}) {
      const double free = error_of(("log" + bits + where).c_str(), shape, x);
      EXPECT_LE(free, error_of(("log" + bits + where + ":pow2").c_str(), shape, x) * 1.001) << bits << where;
      EXPECT_LE(free, error_of(("log" + bits + where + ":sqrt2").c_str(), shape, x) * 1.001) << bits << where;
    }
  }
}

// Rounding to powers of two of a uniformly distributed logarithm loses a known share of the power: for x in
// [3/4, 3/2] of a level the integral of (x - 1)^2 over that of x^2, with density 1/x.
TEST(Log, ErrorOfPowersOfTwoOnAUniformLogarithm) {
  Rng rng(3);
  std::vector<float> x(8192);
  for (float& v : x) v = static_cast<float>(std::exp2(-20 * rng.uniform()) * (rng.below(2) == 0 ? 1 : -1));
  const double power = (1.5 * 1.5 - 0.75 * 0.75) / 2;
  const double integral = power - 2 * (1.5 - 0.75) + std::log(2.0);
  const double expected = integral / power;
  const std::vector<float> zeros(x.size());
  const double share = error_of("log8:tensor:pow2:f32", Shape{64, 128}, x) / squared_error(x, zeros);
  // Most of the power stands in the top octave, which the choice of the scale can serve better than that.
  EXPECT_LE(share, expected);
  EXPECT_GE(share, 0.5 * expected);
}

TEST(Log, ImportanceLowersTheWeightedError) {
  const Shape shape{32, 256};
  const auto x = gaussian(shape.elements(), 4);
  Rng rng(5);
  std::vector<float> w(256);
  for (float& v : w) v = static_cast<float>(std::exp(2 * rng.normal()));
  for (const char* word : {"log3:g64", "log4:channel", "log4:g128:pow2"})
    EXPECT_LT(error_of(word, shape, x, w),
              squared_error(x, decoded(encode_nearest(format_of(word), shape, x)), w));
}

TEST(Log, TensorWideParametersDoNotDependOnTheCut) {
  const Shape shape{40, 100};
  const auto x = gaussian(shape.elements(), 6);
  for (const char* word : {"log4:tensor", "log5:channel", "log4:g50", "log4:tensor:pow2"}) {
    const Format& f = format_of(word);
    const QTensor whole = encode_nearest(f, shape, x);
    const auto info = f.planes(shape);
    std::vector<std::vector<std::byte>> store;
    std::vector<std::byte*> at;
    for (const PlaneInfo& p : info) store.emplace_back(p.bytes);
    for (auto& s : store) at.push_back(s.data());
    const auto pass = f.tensor_pass(shape);
    for (size_t i = 0; i < x.size(); i += 13) pass->add({x.data() + i, std::min<size_t>(13, x.size() - i)});
    pass->finish(at.data());
    for (size_t i = 0; i < info.size(); ++i) {
      if (info[i].block_bytes != 0) continue;
      EXPECT_TRUE(std::equal(store[i].begin(), store[i].end(), whole.planes[i].bytes.begin())) << word;
    }
  }
}

TEST(Log, OddShapesAndWords) {
  for (const Shape& shape : {Shape{5, 3}, Shape{33}, Shape{0, 4}, Shape{}, Shape{2, 100}}) {
    const auto x = gaussian(shape.elements(), 7);
    for (const char* word : {"log6:channel", "log7:tensor"})
      EXPECT_LE(error_of(word, shape, x), 0.05 * squared_error(x, std::vector<float>(x.size()))) << word;
  }
  EXPECT_EQ(format_of("log4").spec().to_string(), "log4:channel");
  EXPECT_EQ(format_of("log8:f32:pow2:g32").spec().to_string(), "log8:g32:pow2:f32");
  for (const char* bad : {"log2", "log9", "log", "log4:asym"}) EXPECT_THROW(format_of(bad), Error) << bad;
}

}  // namespace
}  // namespace nibble
