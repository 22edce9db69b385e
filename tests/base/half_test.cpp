#include "base/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/rng.h"

namespace nibble {
namespace {

// The value a f16 bit pattern has by IEEE 754, computed without the code under test.
double f16_value(uint16_t h) {
  const int e = (h >> 10) & 31;
  const int m = h & 1023;
  const double sign = (h & 0x8000) ? -1 : 1;
  if (e == 31) return m != 0 ? NAN : sign * INFINITY;
  if (e == 0) return sign * std::ldexp(m, -24);
  return sign * std::ldexp(1024 + m, e - 25);
}

TEST(Half, EveryF16DecodesAndRoundTrips) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto h = static_cast<uint16_t>(i);
    const double expected = f16_value(h);
    const float got = f16_to_f32(h);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got));
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(got))));
      continue;
    }
    EXPECT_EQ(static_cast<double>(got), expected) << i;
    EXPECT_EQ(f32_to_f16(got), h) << i;
  }
}

TEST(Half, F16RoundsToNearestEven) {
  for (uint32_t i = 0; i + 1 < 0x7c00; ++i) {
    const float a = f16_to_f32(static_cast<uint16_t>(i));
    const float b = f16_to_f32(static_cast<uint16_t>(i + 1));
    const float middle = (a + b) / 2;
    EXPECT_EQ(f32_to_f16(middle), (i & 1) ? i + 1 : i);
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), i);
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, 1e6f)), i + 1);
  }
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
}

// A narrower float is right when no other of its values lies nearer.
template <class Decode, class Encode>
void expect_nearest(Decode decode, Encode encode, int codes, float largest) {
  Rng rng(7);
  for (int i = 0; i < 20000; ++i) {
    const auto x = static_cast<float>(rng.normal() * std::exp2(rng.uniform() * 20 - 12));
    const float clamped = std::clamp(x, -largest, largest);
    const double error = std::fabs(static_cast<double>(decode(encode(x))) - clamped);
    for (int c = 0; c < codes; ++c) {
      const double v = decode(static_cast<uint8_t>(c));
      if (!std::isfinite(v)) continue;
      ASSERT_LE(error, std::fabs(v - clamped)) << x << " code " << c;
    }
  }
}

TEST(Half, SmallFloatsRoundToNearest) {
  expect_nearest(e4m3_to_f32, f32_to_e4m3, 256, 448.0f);
  expect_nearest(e5m2_to_f32, f32_to_e5m2, 256, 57344.0f);
  expect_nearest(e2m1_to_f32, f32_to_e2m1, 16, 6.0f);
}

TEST(Half, SmallFloatsRoundTrip) {
  for (int c = 0; c < 256; ++c) {
    const auto h = static_cast<uint8_t>(c);
    if (std::isfinite(e4m3_to_f32(h))) {
      EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(h)), h);
    }
    if (std::isfinite(e5m2_to_f32(h))) {
      EXPECT_EQ(f32_to_e5m2(e5m2_to_f32(h)), h);
    }
    if (c < 255) {
      EXPECT_EQ(f32_to_e8m0_floor(e8m0_to_f32(h)), c);
    }
  }
  EXPECT_EQ(e4m3_to_f32(0x7e), 448.0f);
  EXPECT_EQ(e4m3_to_f32(0x01), 0x1p-9f);
  EXPECT_EQ(e5m2_to_f32(0x7b), 57344.0f);
  EXPECT_TRUE(std::isnan(e4m3_to_f32(0x7f)));
}

TEST(Half, Bf16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

}  // namespace
}  // namespace nibble
