#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/meta.h"

namespace nibble {

/// Type numbers of GGUF metadata values.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// Bytes of one value; 0 for strings and arrays.
size_t gguf_type_size(GgufType type) noexcept;

/// One metadata entry with the type it has in the file, kept in the file's own encoding so that writing it
/// again gives the same bytes.
struct GgufKv {
  std::string key;
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  ///< of an array
  uint64_t count = 0;               ///< elements of an array
  std::vector<std::byte> value;     ///< encoded; for arrays the elements only

  static GgufKv u8(std::string key, uint8_t v);
  static GgufKv u16(std::string key, uint16_t v);
  static GgufKv i32(std::string key, int32_t v);
  static GgufKv u32(std::string key, uint32_t v);
  static GgufKv u64(std::string key, uint64_t v);
  static GgufKv f32(std::string key, float v);
  static GgufKv boolean(std::string key, bool v);
  static GgufKv text(std::string key, std::string_view v);
  static GgufKv texts(std::string key, std::span<const std::string> v);
  static GgufKv i32s(std::string key, std::span<const int32_t> v);
  static GgufKv f32s(std::string key, std::span<const float> v);
  static GgufKv booleans(std::string key, const std::vector<bool>& v);

  /// The value without its exact type: integers as int64_t (uint64_t where it does not fit), floats as
  /// double.
  MetaValue meta() const;

  /// Appends the entry as a file holds it, key first; and how many bytes that takes.
  void encode(std::vector<std::byte>& out) const;
  uint64_t encoded_size() const noexcept;

  bool operator==(const GgufKv&) const = default;
};

}  // namespace nibble
