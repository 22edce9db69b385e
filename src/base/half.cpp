#include "base/half.h"

#include <array>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

// A small binary float: sign, `exponent` bits with the IEEE bias, `mantissa` bits, subnormals included.
template <int exponent, int mantissa>
struct Mini {
  static constexpr int bias = (1 << (exponent - 1)) - 1;

  static float value(uint32_t magnitude) noexcept {
    const uint32_t e = magnitude >> mantissa;
    const uint32_t m = magnitude & ((1u << mantissa) - 1);
    if (e == 0) return std::ldexp(static_cast<float>(m), 1 - bias - mantissa);
    return std::ldexp(static_cast<float>(m + (1u << mantissa)), static_cast<int>(e) - bias - mantissa);
  }

  // Code of the nearest magnitude, ties to the even code. The caller clamps; x is finite and not negative.
  static uint32_t code(float x) noexcept {
    if (x == 0.0f) return 0;
    int e = 0;
    std::frexp(x, &e);
    const int unit = std::max(e - 1, 1 - bias) - mantissa;  // exponent of the last place
    const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(x, -unit)));
    const auto field = static_cast<uint32_t>(unit + mantissa + bias - 1);
    return (field << mantissa) + steps;  // steps carries the hidden bit, which adds one to the exponent field
  }
};

template <class F>
std::array<float, 256> table(F decode) {
  std::array<float, 256> t{};
  for (int i = 0; i < 256; ++i) t[static_cast<size_t>(i)] = decode(static_cast<uint8_t>(i));
  return t;
}

float signed_value(uint8_t h, float magnitude) noexcept { return (h & 0x80u) ? -magnitude : magnitude; }

}  // namespace

float e4m3_to_f32(uint8_t h) noexcept {
  static const auto values = table([](uint8_t b) {
    if ((b & 0x7fu) == 0x7fu) return std::numeric_limits<float>::quiet_NaN();
    return signed_value(b, Mini<4, 3>::value(b & 0x7fu));
  });
  return values[h];
}

uint8_t f32_to_e4m3(float x) noexcept {
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 0x80u : 0u);
  if (std::isnan(x)) return sign | 0x7fu;
  const float a = std::fabs(x);
  if (a >= 448.0f) return sign | 0x7eu;
  return static_cast<uint8_t>(sign | Mini<4, 3>::code(a));
}

float e5m2_to_f32(uint8_t h) noexcept { return f16_to_f32(static_cast<uint16_t>(h << 8)); }

uint8_t f32_to_e5m2(float x) noexcept {
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 0x80u : 0u);
  if (std::isnan(x)) return sign | 0x7eu;
  const float a = std::fabs(x);
  if (std::isinf(a)) return sign | 0x7cu;
  if (a >= 57344.0f) return sign | 0x7bu;
  return static_cast<uint8_t>(sign | Mini<5, 2>::code(a));
}

float e8m0_to_f32(uint8_t h) noexcept {
  if (h == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, static_cast<int>(h) - 127);
}

uint8_t f32_to_e8m0_floor(float x) noexcept {
  if (std::isnan(x)) return 255;
  const float a = std::fabs(x);
  if (a == 0.0f) return 0;
  if (std::isinf(a)) return 254;
  int e = 0;
  std::frexp(a, &e);
  const int code = e - 1 + 127;
  return static_cast<uint8_t>(code < 0 ? 0 : code);
}

float e2m1_to_f32(uint8_t h) noexcept {
  static constexpr std::array<float, 8> magnitudes = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  return (h & 8u) ? -magnitudes[h & 7u] : magnitudes[h & 7u];
}

uint8_t f32_to_e2m1(float x) noexcept {
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 8u : 0u);
  const float a = std::fabs(x);
  if (!(a < 6.0f)) return sign | 7u;
  return static_cast<uint8_t>(sign | Mini<2, 1>::code(a));
}

}  // namespace nibble
