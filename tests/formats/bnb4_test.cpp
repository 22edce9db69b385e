// nf4 and fp4 against bitsandbytes' published tables and arithmetic.
#include "formats/bnb4.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace nibble {
namespace {

std::vector<float> gaussian(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * 0.02);
  return x;
}

std::vector<float> decoded(const QTensor& t) {
  std::vector<float> y(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), y.data());
  return y;
}

float f32_at(const QTensor& t, size_t plane, size_t index) {
  float v;
  std::memcpy(&v, t.planes.at(plane).bytes.data() + 4 * index, 4);
  return v;
}

// Appendix E of the QLoRA paper.
TEST(Bnb4, Nf4TableOfThePaper) {
  const float paper[16] = {-1.0f,
                           -0.6961928009986877f,
                           -0.5250730514526367f,
                           -0.39491748809814453f,
                           -0.28444138169288635f,
                           -0.18477343022823334f,
                           -0.09105003625154495f,
                           0.0f,
                           0.07958029955625534f,
                           0.16093020141124725f,
                           0.24611230194568634f,
                           0.33791524171829224f,
                           0.44070982933044434f,
                           0.5626170039176941f,
                           0.7229568362236023f,
                           1.0f};
  EXPECT_TRUE(std::equal(paper, paper + 16, nf4_table().begin()));
}

TEST(Bnb4, Fp4TableIsSignExponentMantissa) {
  // 000 zero, 001 the only subnormal, then 2/3 and 1, 1/3 and 1/2, 1/6 and 1/4; bit 3 is the sign.
  const double expected[8] = {0, 0.0625 / 12, 2.0 / 3, 1, 1.0 / 3, 0.5, 1.0 / 6, 0.25};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_FLOAT_EQ(fp4_table()[i], static_cast<float>(expected[i]));
    EXPECT_FLOAT_EQ(fp4_table()[i + 8], -static_cast<float>(expected[i]));
  }
}

// The formula of create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8), and a hash of the 256
// floats that it makes under torch 1.13.
TEST(Bnb4, DynamicMapIsThatOfBitsandbytes) {
  const auto map = bnb_dynamic_map();
  std::vector<double> formula = {0.0, 1.0};
  for (int i = 0; i < 7; ++i) {
    const int pieces = 1 << i;
    for (int k = 0; k < pieces; ++k) {
      const double v = std::pow(10.0, i - 6) * (0.1 + 0.9 * (k + 0.5) / pieces);
      formula.push_back(v);
      formula.push_back(-v);
    }
  }
  std::sort(formula.begin(), formula.end());
  ASSERT_EQ(formula.size(), map.size());
  for (size_t i = 0; i < map.size(); ++i) EXPECT_NEAR(map[i], formula[i], std::fabs(formula[i]) * 2e-7) << i;
  EXPECT_FLOAT_EQ(map.front(), -0.99296874f);
  EXPECT_EQ(map.back(), 1.0f);
  EXPECT_EQ(map[127], 0.0f);
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::byte b : std::as_bytes(map)) hash = (hash ^ static_cast<uint8_t>(b)) * 0x100000001b3;
  EXPECT_EQ(hash, 0x52084853a0e35a1cu);
}

TEST(Bnb4, EvenWeightsStandInTheHighHalf) {
  std::vector<float> x(64, 0.0f);
  x[0] = 2.0f;    // code 15
  x[1] = -2.0f;   // code 0
  x[2] = 1.13f;   // 0.565 is nearest to 0.5626, code 13
  x[63] = -1.4f;  // -0.7 is nearest to -0.6962, code 1
  const QTensor t = encode_nearest(format_of("nf4"), Shape{64}, x);
  EXPECT_EQ(t.planes[0].bytes.size(), 32u);
  EXPECT_EQ(static_cast<int>(t.planes[0].bytes[0]), 0xf0);
  EXPECT_EQ(static_cast<int>(t.planes[0].bytes[1]), 0xd7);
  EXPECT_EQ(static_cast<int>(t.planes[0].bytes[31]), 0x71);
  EXPECT_EQ(f32_at(t, 1, 0), 2.0f);
  const auto y = decoded(t);
  EXPECT_EQ(y[0], 2.0f);
  EXPECT_EQ(y[5], 0.0f);
  EXPECT_EQ(y[63], 2.0f * -0.6961928009986877f);
}

TEST(Bnb4, SmallWeightsOfBothSignsAreThePositiveZeroOfFp4) {
  std::vector<float> x(64, 1e-9f);
  x[0] = 1.0f;
  x[2] = -1e-9f;
  const QTensor t = encode_nearest(format_of("fp4"), Shape{64}, x);
  EXPECT_EQ(static_cast<int>(t.planes[0].bytes[0]), 0x30);
  EXPECT_EQ(static_cast<int>(t.planes[0].bytes[1]), 0x00);
}

TEST(Bnb4, AbsmaxIsExactAndCodesAreNearest) {
  for (const char* word : {"nf4:b64", "fp4:b64", "nf4:b128"}) {
    const Format& f = format_of(word);
    const auto x = gaussian(1000, 3);
    const QTensor t = encode_nearest(f, Shape{1000}, x);
    const auto y = decoded(t);
    const auto table = f.info().name == "nf4" ? nf4_table() : fp4_table();
    const int64_t block = f.block(Shape{1000});
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t b = i / static_cast<size_t>(block);
      const size_t end = std::min<size_t>(1000, (b + 1) * static_cast<size_t>(block));
      float top = 0;
      for (size_t j = b * static_cast<size_t>(block); j < end; ++j) top = std::max(top, std::fabs(x[j]));
      ASSERT_EQ(f32_at(t, 1, b), top);
      float best = 1e9f;
      for (const float v : table) best = std::min(best, std::fabs(v * top - x[i]));
      ASSERT_NEAR(std::fabs(y[i] - x[i]), best, 1e-8) << word << " weight " << i;
    }
  }
}

TEST(Bnb4, DoubleQuantizationByHand) {
  // Three blocks of 64 with absmax 1, 2 and 6: the mean is 3, the nested maximum 3.
  std::vector<float> x(192, 0.0f);
  x[3] = 1.0f;
  x[70] = -2.0f;
  x[140] = 6.0f;
  const QTensor t = encode_nearest(format_of("nf4:b64:dq"), Shape{192}, x);
  ASSERT_EQ(t.planes.size(), 4u);
  EXPECT_EQ(f32_at(t, 3, 0), 3.0f);
  EXPECT_EQ(f32_at(t, 2, 0), 3.0f);
  const auto map = bnb_dynamic_map();
  const double share[3] = {-2.0 / 3, -1.0 / 3, 1.0};
  for (size_t b = 0; b < 3; ++b) {
    const float got = map[static_cast<uint8_t>(t.planes[1].bytes[b])];
    for (const float v : map) ASSERT_LE(std::fabs(got - share[b]), std::fabs(v - share[b]) + 1e-7);
  }
  const auto y = decoded(t);
  EXPECT_EQ(y[140], 6.0f);
  EXPECT_NEAR(y[3], 1.0f, 0.03f);
  EXPECT_NEAR(y[70], -2.0f, 0.03f);
}

TEST(Bnb4, DoubleQuantizationCostsLittleAndPiecesDoNotMatter) {
  const Shape shape{40, 1001};  // ends in a short block of a short nest
  const auto x = gaussian(shape.elements(), 5);
  const auto error = [&](const char* word) {
    const auto y = decoded(encode_nearest(format_of(word), shape, x));
    double e = 0;
    for (size_t i = 0; i < x.size(); ++i) e += std::pow(double(x[i]) - y[i], 2);
    return e;
  };
  EXPECT_LT(error("nf4:b64:dq"), error("nf4:b64") * 1.01);
  EXPECT_LT(error("nf4:b64"), error("fp4:b64"));

  const Format& f = format_of("nf4:b64:dq");
  float whole = 0, pieces = 0;
  std::byte* planes[4] = {nullptr, nullptr, nullptr, reinterpret_cast<std::byte*>(&whole)};
  auto pass = f.tensor_pass(shape);
  pass->add(x);
  pass->finish(planes);
  planes[3] = reinterpret_cast<std::byte*>(&pieces);
  pass = f.tensor_pass(shape);
  for (size_t i = 0; i < x.size(); i += 37) pass->add({x.data() + i, std::min<size_t>(37, x.size() - i)});
  pass->finish(planes);
  EXPECT_EQ(whole, pieces);
  EXPECT_GT(whole, 0);
}

TEST(Bnb4, ShortAndEmptyTensors) {
  for (const char* word : {"nf4", "fp4:b128", "nf4:b64:dq"}) {
    for (const int64_t n : {0, 1, 63, 65, 16385}) {
      const auto x = gaussian(n, 7);
      const QTensor t = encode_nearest(format_of(word), Shape{n}, x);
      const auto y = decoded(t);
      double e = 0, p = 0;
      for (size_t i = 0; i < x.size(); ++i) e += std::pow(double(x[i]) - y[i], 2), p += double(x[i]) * x[i];
      EXPECT_LE(e, 0.03 * p) << word << " " << n;
      for (size_t i = 0; i < t.planes.size(); ++i) {
        const PlaneInfo info = format_of(word).planes(t.shape)[i];
        EXPECT_EQ(static_cast<size_t>(info.shape.elements()) * dtype_size(info.dtype), info.bytes);
      }
    }
  }
}

TEST(Bnb4, WordsHaveOneSpelling) {
  EXPECT_EQ(format_of("nf4").spec().to_string(), "nf4:b64");
  EXPECT_EQ(format_of("FP4:dq:b128").spec().to_string(), "fp4:b128:dq");
  for (const char* bad : {"nf4:b63", "nf4:g64", "nf4:b8192", "nf5"})
    EXPECT_THROW(format_of(bad), Error) << bad;
}

}  // namespace
}  // namespace nibble
