// 8-bit floats against the tables of the OFP8 specification.
#include <gtest/gtest.h>

#include <cmath>

#include "base/half.h"
#include "base/rng.h"
#include "formats/format.h"

namespace nibble {
namespace {

std::vector<float> decoded(const QTensor& t) {
  std::vector<float> y(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), y.data());
  return y;
}

std::vector<float> through(const char* word, const Shape& shape, const std::vector<float>& x) {
  return decoded(encode_nearest(format_of(word), shape, x));
}

// Table 1 of OFP8 revision 1.0: greatest, least normal, greatest and least subnormal numbers.
TEST(Fp8, LimitsOfTheSpecification) {
  const struct {
    const char* word;
    float greatest, least_normal, greatest_subnormal, least_subnormal;
  } rows[] = {{"fp8_e4m3", 448.0f, 0x1p-6f, 0.875f * 0x1p-6f, 0x1p-9f},
              {"fp8_e5m2", 57344.0f, 0x1p-14f, 0.75f * 0x1p-14f, 0x1p-16f}};
  for (const auto& r : rows) {
    const std::vector<float> x = {
        r.greatest,       r.least_normal,     r.greatest_subnormal,     r.least_subnormal,
        -r.greatest,      -r.least_subnormal, 0.4f * r.least_subnormal, 0.6f * r.least_subnormal,
        1.5f * r.greatest};
    const auto y = through(r.word, Shape{9}, x);
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(y[i], x[i]) << r.word << " " << i;
    EXPECT_EQ(y[6], 0.0f);
    EXPECT_EQ(y[7], r.least_subnormal);
    EXPECT_EQ(y[8], r.greatest);  // saturates
  }
}

TEST(Fp8, PlainCastIsOneSafetensorsTensor) {
  const Format& f = format_of("e4m3");
  EXPECT_EQ(f.spec().to_string(), "fp8_e4m3");
  const Shape shape{3, 5, 7};
  const auto info = f.planes(shape);
  ASSERT_EQ(info.size(), 1u);
  EXPECT_EQ(info[0].name, "");
  EXPECT_EQ(info[0].dtype, DType::f8_e4m3);
  EXPECT_EQ(info[0].shape, shape);
  EXPECT_EQ(format_of("e5m2:channel").spec().to_string(), "fp8_e5m2:channel");
  EXPECT_THROW(format_of("fp8_e4m3:f16"), Error);
}

TEST(Fp8, ScaledRowsReachTheGreatestNumber) {
  Rng rng(2);
  const Shape shape{6, 100};
  std::vector<float> x(600);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(rng.normal() * std::pow(10.0, double(i / 100) - 8));
  for (const char* word : {"fp8_e4m3:channel", "fp8_e5m2:channel", "fp8_e4m3:g50"}) {
    const Format& f = format_of(word);
    const QTensor t = encode_nearest(f, shape, x);
    const auto y = decoded(t);
    const auto block = static_cast<size_t>(f.block(shape));
    for (size_t b = 0; b < x.size() / block; ++b) {
      size_t top = b * block;
      for (size_t i = top; i < (b + 1) * block; ++i) top = std::fabs(x[i]) > std::fabs(x[top]) ? i : top;
      EXPECT_NEAR(y[top] / x[top], 1.0, 1e-6) << word;
      for (size_t i = b * block; i < (b + 1) * block; ++i) {
        const double step = f.info().name == "fp8_e4m3" ? 0x1p-4 : 0x1p-3;
        EXPECT_LE(std::fabs(y[i] - x[i]), step * std::fabs(x[i]) + std::fabs(x[top]) / 448 * 0x1p-10 * 1.01)
            << word;
      }
    }
  }
}

TEST(Fp8, TensorScaleEqualsThatOfOneRow) {
  Rng rng(3);
  std::vector<float> x(512);
  for (float& v : x) v = static_cast<float>(rng.normal());
  EXPECT_EQ(through("fp8_e4m3:tensor", Shape{8, 64}, x), through("fp8_e4m3:channel", Shape{512}, x));
  // Scaling is what keeps small weights out of the subnormal numbers.
  for (float& v : x) v *= 1e-3f;
  const auto error = [&](const char* word) {
    const auto y = through(word, Shape{8, 64}, x);
    double e = 0;
    for (size_t i = 0; i < x.size(); ++i) e += std::pow(double(x[i]) - y[i], 2);
    return e;
  };
  EXPECT_LT(error("fp8_e4m3:tensor"), 0.1 * error("fp8_e4m3"));
}

}  // namespace
}  // namespace nibble
