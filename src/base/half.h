#pragma once

#include <bit>
#include <cstdint>

namespace nibble {

// Conversions between f32 and the short float types. All round to nearest, ties to even, unless they say
// otherwise; all are exact in the other direction. Bit layouts: IEEE 754 (f16), bfloat16, OCP 8-bit floating
// point (e4m3fn, e5m2) and OCP microscaling v1.0 (e8m0, e2m1).

inline float f16_to_f32(uint16_t h) noexcept {
  // Whole numbers with a sign, and both results: loops over this can be vectorized. No float is subnormal on
  // the way, which processors are slow with.
  const int32_t magnitude = h & 0x7fff, shifted = magnitude << 13;
  // The exponent's bias is 112 larger; infinity and NaN keep an all-ones exponent.
  const int32_t normal = shifted + (112 << 23) + (magnitude >= 0x7c00 ? 112 << 23 : 0);
  // Below 2^-14 the fraction stands alone, as if 1 had been taken from it.
  const float small = std::bit_cast<float>(shifted + (113 << 23)) - 0x1p-14f;
  const int32_t bits = magnitude < 0x0400 ? std::bit_cast<int32_t>(small) : normal;
  return std::bit_cast<float>(static_cast<uint32_t>(bits) | static_cast<uint32_t>(h & 0x8000) << 16);
}

inline uint16_t f32_to_f16(float x) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t odd = (magnitude >> 13) & 1u;
  // All of them, and the one that counts: loops over this can be vectorized.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  // Below 2^-14 the result is a multiple of 2^-24, which is also the last place of floats in [0.5, 1).
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t half = magnitude < 0x38800000u ? small : normal;
  half = magnitude >= 0x47800000u ? 0x7c00u : half;  // 65536 and more
  half = magnitude > 0x7f800000u ? 0x7e00u : half;   // NaN
  return static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
}

inline float bf16_to_f32(uint16_t h) noexcept { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

inline uint16_t f32_to_bf16(float x) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>((bits >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float e4m3_to_f32(uint8_t h) noexcept;        ///< OCP E4M3 (no infinity, largest 448, NaN is 0x7f and 0xff)
uint8_t f32_to_e4m3(float x) noexcept;        ///< saturates at 448; NaN stays NaN
float e5m2_to_f32(uint8_t h) noexcept;        ///< OCP E5M2 (IEEE rules: infinity and NaN exist)
uint8_t f32_to_e5m2(float x) noexcept;        ///< saturates finite values at 57344; infinity and NaN stay
float e8m0_to_f32(uint8_t h) noexcept;        ///< 2^(h-127); 0xff is NaN
uint8_t f32_to_e8m0_floor(float x) noexcept;  ///< exponent of the largest power of two not above |x|; 0 for 0
float e2m1_to_f32(uint8_t h) noexcept;        ///< the 16 values of FP4; only the low four bits count
uint8_t f32_to_e2m1(float x) noexcept;        ///< nearest, ties to even code, saturates at 6; NaN gives 6

}  // namespace nibble
