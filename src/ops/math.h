#pragma once

#include <bit>
#include <cstdint>

namespace nibble {

/// e^x within 2 units in the last place for x in [-87, 88]; 0 below, saturates at e^88 above; NaN stays NaN.
/// The same bits on every machine, and plain enough for the compiler to vectorize.
inline float exp_f32(float x) noexcept {
  const float least = -87.0f, most = 88.0f;
  const float c = x < least ? least : (x > most ? most : x);
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const float shifted = c * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float scale = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127u) << 23);
  return x < least ? 0.0f : p * scale;
}

}  // namespace nibble
