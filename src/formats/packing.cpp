#include "formats/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

// Eight codes are `bits` whole bytes: the unit of both loops.
uint64_t join(const Code* codes, int64_t n, int bits) noexcept {
  const uint64_t mask = (1u << bits) - 1;
  uint64_t v = 0;
  for (int64_t j = 0; j < n; ++j) v |= (static_cast<uint64_t>(codes[j]) & mask) << (j * bits);
  return v;
}

void split(uint64_t v, int64_t n, int bits, uint8_t* codes) noexcept {
  const uint64_t mask = (1u << bits) - 1;
  for (int64_t j = 0; j < n; ++j) codes[j] = static_cast<uint8_t>((v >> (j * bits)) & mask);
}

void write_bytes(uint64_t v, int64_t n, std::byte* out) noexcept {
  for (int64_t j = 0; j < n; ++j) out[j] = static_cast<std::byte>(v >> (8 * j));
}

uint64_t read_bytes(const std::byte* in, int64_t n) noexcept {
  uint64_t v = 0;
  for (int64_t j = 0; j < n; ++j) v |= static_cast<uint64_t>(in[j]) << (8 * j);
  return v;
}

}  // namespace

void pack_codes(const Code* codes, int64_t n, int bits, std::byte* out) noexcept {
  if (bits == 8) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(codes[i]);
    return;
  }
  for (; n >= 8; n -= 8, codes += 8, out += bits) write_bytes(join(codes, 8, bits), bits, out);
  write_bytes(join(codes, n, bits), packed_bytes(n, bits), out);
}

void unpack_codes(const std::byte* in, int64_t n, int bits, uint8_t* codes) noexcept {
  if (bits == 8) {
    if (n > 0) std::memcpy(codes, in, static_cast<size_t>(n));  // an empty buffer may be a null pointer
    return;
  }
  if (bits == 4) {
    for (int64_t i = 0; i < n / 2; ++i) {
      const auto b = static_cast<uint8_t>(in[i]);
      codes[2 * i] = b & 15u;
      codes[2 * i + 1] = b >> 4;
    }
    if (n % 2 != 0) codes[n - 1] = static_cast<uint8_t>(in[n / 2]) & 15u;
    return;
  }
  for (; n >= 8; n -= 8, codes += 8, in += bits) split(read_bytes(in, bits), 8, bits, codes);
  split(read_bytes(in, packed_bytes(n, bits)), n, bits, codes);
}

bool parse_param_type(const std::string& option, ParamType& type) noexcept {
  for (const ParamType t : {ParamType::f16, ParamType::f32, ParamType::bf16}) {
    if (option == param_type_name(t)) {
      type = t;
      return true;
    }
  }
  return false;
}

std::string_view param_type_name(ParamType type) noexcept { return dtype_name(param_dtype(type)); }

DType param_dtype(ParamType type) noexcept {
  if (type == ParamType::f32) return DType::f32;
  return type == ParamType::f16 ? DType::f16 : DType::bf16;
}

float param_round(float x, ParamType type) noexcept {
  constexpr float f16_max = 65504.0f;
  const float bf16_max = bf16_to_f32(0x7f7f);
  if (type == ParamType::f16) return f16_to_f32(f32_to_f16(std::clamp(x, -f16_max, f16_max)));
  if (type == ParamType::bf16) return bf16_to_f32(f32_to_bf16(std::clamp(x, -bf16_max, bf16_max)));
  constexpr float f32_max = std::numeric_limits<float>::max();
  return std::clamp(x, -f32_max, f32_max);
}

void param_store(float x, ParamType type, std::byte* plane, int64_t index) noexcept {
  if (type == ParamType::f32) {
    std::memcpy(plane + index * 4, &x, 4);
    return;
  }
  const uint16_t h = type == ParamType::f16 ? f32_to_f16(x) : f32_to_bf16(x);
  std::memcpy(plane + index * 2, &h, 2);
}

float param_load(const std::byte* plane, ParamType type, int64_t index) noexcept {
  if (type == ParamType::f32) {
    float x;
    std::memcpy(&x, plane + index * 4, 4);
    return x;
  }
  uint16_t h;
  std::memcpy(&h, plane + index * 2, 2);
  return type == ParamType::f16 ? f16_to_f32(h) : bf16_to_f32(h);
}

}  // namespace nibble
