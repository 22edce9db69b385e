#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

/// n little-endian numbers of 16 bits, at any address, as floats: what f16_to_f32 and bf16_to_f32 give, to
/// the bit. Asks for what follows them, as a reader of a whole file wants it.
void widen_f16(const std::byte* in, float* out, int64_t n) noexcept;
void widen_bf16(const std::byte* in, float* out, int64_t n) noexcept;

/// all_finite of base/finite.h.
bool finite(const float* x, int64_t n) noexcept;

}  // namespace nibble
