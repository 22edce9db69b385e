#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nibble {

/// Element type of stored bytes, before any meaning as a quantized tensor is given to them.
enum class DType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean
};

/// Bytes per element.
size_t dtype_size(DType t) noexcept;
/// Lower-case name: "f32", "bf16", "f8_e4m3", "bool".
std::string_view dtype_name(DType t) noexcept;
std::optional<DType> dtype_from_name(std::string_view name) noexcept;
bool is_float(DType t) noexcept;

}  // namespace nibble
