#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "formats/format.h"

namespace nibble {

/// Bytes of n codes of `bits` bits each, packed densely. Does not overflow for any n up to 2^62.
constexpr int64_t packed_bytes(int64_t n, int bits) noexcept { return n / 8 * bits + (n % 8 * bits + 7) / 8; }

/// Packs n codes of 1 to 8 bits little end first: code i takes bits [i * bits, (i + 1) * bits) of the block
/// read as one little-endian number. Unused bits of the last byte are zero. Only the low `bits` bits count.
void pack_codes(const Code* codes, int64_t n, int bits, std::byte* out) noexcept;
/// The inverse of pack_codes; reads packed_bytes(n, bits) bytes.
void unpack_codes(const std::byte* in, int64_t n, int bits, uint8_t* codes) noexcept;

/// How a parameter (scale, float zero point, codebook entry) is stored.
enum class ParamType : uint8_t { f16, f32, bf16 };

/// The option word of a parameter type, or false: `f16`, `f32`, `bf16`.
bool parse_param_type(const std::string& option, ParamType& type) noexcept;
std::string_view param_type_name(ParamType type) noexcept;
DType param_dtype(ParamType type) noexcept;
/// The nearest finite value that the type holds.
float param_round(float x, ParamType type) noexcept;
/// Writes a value that param_round gave, as element `index`.
void param_store(float x, ParamType type, std::byte* plane, int64_t index = 0) noexcept;
float param_load(const std::byte* plane, ParamType type, int64_t index = 0) noexcept;

}  // namespace nibble
