#include "tensor/dtype.h"

#include <array>

namespace nibble {
namespace {

struct Row {
  DType type;
  std::string_view name;
  size_t size;
  bool floating;
};

constexpr std::array<Row, 16> rows = {{
    {DType::f64, "f64", 8, true},
    {DType::f32, "f32", 4, true},
    {DType::f16, "f16", 2, true},
    {DType::bf16, "bf16", 2, true},
    {DType::f8_e4m3, "f8_e4m3", 1, true},
    {DType::f8_e5m2, "f8_e5m2", 1, true},
    {DType::f8_e8m0, "f8_e8m0", 1, true},
    {DType::i64, "i64", 8, false},
    {DType::i32, "i32", 4, false},
    {DType::i16, "i16", 2, false},
    {DType::i8, "i8", 1, false},
    {DType::u64, "u64", 8, false},
    {DType::u32, "u32", 4, false},
    {DType::u16, "u16", 2, false},
    {DType::u8, "u8", 1, false},
    {DType::boolean, "bool", 1, false},
}};

const Row& row(DType t) noexcept { return rows[static_cast<size_t>(t)]; }

}  // namespace

size_t dtype_size(DType t) noexcept { return row(t).size; }
std::string_view dtype_name(DType t) noexcept { return row(t).name; }
bool is_float(DType t) noexcept { return row(t).floating; }

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  for (const Row& r : rows) {
    if (r.name == name) return r.type;
  }
  return std::nullopt;
}

}  // namespace nibble
