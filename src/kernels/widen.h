#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

/// n little-endian numbers of 16 bits, at any address, as floats: what f16_to_f32 and bf16_to_f32 give, to
/// the bit. Asks for what follows them, as a reader of a whole file wants it.
void widen_f16(const std::byte* in, float* out, int64_t n) noexcept;
void widen_bf16(const std::byte* in, float* out, int64_t n) noexcept;

/// f32_to_f16 of n numbers, to the bit.
void narrow_f16(const float* x, uint16_t* out, int64_t n) noexcept;

/// Bits of the largest magnitude, 0 where n is: magnitudes are ordered as their bits are, then infinity
/// (infinity_bits), then NaN.
int32_t magnitude_bits(const float* x, int64_t n) noexcept;
inline constexpr int32_t infinity_bits = 0x7f800000;

}  // namespace nibble
