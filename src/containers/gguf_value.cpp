#include "containers/gguf_value.h"

#include <array>
#include <limits>

#include "containers/byte_reader.h"

namespace nibble {
namespace {

template <class T>
void append(std::vector<std::byte>& out, T v) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&v);
  out.insert(out.end(), bytes, bytes + sizeof v);
}

void append_text(std::vector<std::byte>& out, std::string_view v) {
  append(out, static_cast<uint64_t>(v.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(v.data());
  out.insert(out.end(), bytes, bytes + v.size());
}

template <class T>
GgufKv scalar(std::string key, GgufType type, T v) {
  GgufKv kv{std::move(key), type, GgufType::u8, 0, {}};
  append(kv.value, v);
  return kv;
}

GgufKv list(std::string key, GgufType element, size_t count) {
  return {std::move(key), GgufType::array, element, count, {}};
}

MetaValue from_signed(int64_t v) { return v; }

MetaValue from_unsigned(uint64_t v) {
  if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return v;
  return static_cast<int64_t>(v);
}

template <class T>
MetaValue integers(ByteReader& in, uint64_t count) {
  std::vector<int64_t> whole;
  whole.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    // Only u64 can be too large for int64_t; as in a scalar's case nobody counts that far.
    whole.push_back(static_cast<int64_t>(in.number<T>("an element")));
  }
  return whole;
}

template <class T>
MetaValue floats(ByteReader& in, uint64_t count) {
  std::vector<double> v;
  v.reserve(count);
  for (uint64_t i = 0; i < count; ++i) v.push_back(static_cast<double>(in.number<T>("an element")));
  return v;
}

MetaValue array_meta(GgufType element, uint64_t count, ByteReader& in) {
  switch (element) {
    case GgufType::u8:
      return integers<uint8_t>(in, count);
    case GgufType::i8:
      return integers<int8_t>(in, count);
    case GgufType::u16:
      return integers<uint16_t>(in, count);
    case GgufType::i16:
      return integers<int16_t>(in, count);
    case GgufType::u32:
      return integers<uint32_t>(in, count);
    case GgufType::i32:
      return integers<int32_t>(in, count);
    case GgufType::u64:
      return integers<uint64_t>(in, count);
    case GgufType::i64:
      return integers<int64_t>(in, count);
    case GgufType::f32:
      return floats<float>(in, count);
    case GgufType::f64:
      return floats<double>(in, count);
    case GgufType::boolean: {
      std::vector<bool> v;
      v.reserve(count);
      for (uint64_t i = 0; i < count; ++i) v.push_back(in.number<uint8_t>("an element") != 0);
      return v;
    }
    case GgufType::string: {
      std::vector<std::string> v;
      v.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        v.emplace_back(in.text(in.number<uint64_t>("a length"), "a string"));
      }
      return v;
    }
    case GgufType::array:
      break;
  }
  fail(ErrorKind::internal, "GGUF array of arrays");
}

}  // namespace

size_t gguf_type_size(GgufType type) noexcept {
  constexpr std::array<size_t, 13> sizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<size_t>(type)];
}

GgufKv GgufKv::u8(std::string key, uint8_t v) { return scalar(std::move(key), GgufType::u8, v); }
GgufKv GgufKv::u16(std::string key, uint16_t v) { return scalar(std::move(key), GgufType::u16, v); }
GgufKv GgufKv::i32(std::string key, int32_t v) { return scalar(std::move(key), GgufType::i32, v); }
GgufKv GgufKv::u32(std::string key, uint32_t v) { return scalar(std::move(key), GgufType::u32, v); }
GgufKv GgufKv::u64(std::string key, uint64_t v) { return scalar(std::move(key), GgufType::u64, v); }
GgufKv GgufKv::f32(std::string key, float v) { return scalar(std::move(key), GgufType::f32, v); }
GgufKv GgufKv::boolean(std::string key, bool v) {
  return scalar(std::move(key), GgufType::boolean, static_cast<uint8_t>(v));
}

GgufKv GgufKv::text(std::string key, std::string_view v) {
  GgufKv kv{std::move(key), GgufType::string, GgufType::u8, 0, {}};
  append_text(kv.value, v);
  return kv;
}

GgufKv GgufKv::texts(std::string key, std::span<const std::string> v) {
  GgufKv kv = list(std::move(key), GgufType::string, v.size());
  for (const std::string& s : v) append_text(kv.value, s);
  return kv;
}

GgufKv GgufKv::i32s(std::string key, std::span<const int32_t> v) {
  GgufKv kv = list(std::move(key), GgufType::i32, v.size());
  for (const int32_t x : v) append(kv.value, x);
  return kv;
}

GgufKv GgufKv::f32s(std::string key, std::span<const float> v) {
  GgufKv kv = list(std::move(key), GgufType::f32, v.size());
  for (const float x : v) append(kv.value, x);
  return kv;
}

GgufKv GgufKv::booleans(std::string key, const std::vector<bool>& v) {
  GgufKv kv = list(std::move(key), GgufType::boolean, v.size());
  for (const bool x : v) append(kv.value, static_cast<uint8_t>(x));
  return kv;
}

void GgufKv::encode(std::vector<std::byte>& out) const {
  append_text(out, key);
  append(out, static_cast<uint32_t>(type));
  if (type == GgufType::array) {
    append(out, static_cast<uint32_t>(element));
    append(out, count);
  }
  out.insert(out.end(), value.begin(), value.end());
}

uint64_t GgufKv::encoded_size() const noexcept {
  return 8 + key.size() + 4 + (type == GgufType::array ? 12 : 0) + value.size();
}

MetaValue GgufKv::meta() const {
  ByteReader in(value, key);
  switch (type) {
    case GgufType::u8:
      return from_signed(in.number<uint8_t>("a value"));
    case GgufType::i8:
      return from_signed(in.number<int8_t>("a value"));
    case GgufType::u16:
      return from_signed(in.number<uint16_t>("a value"));
    case GgufType::i16:
      return from_signed(in.number<int16_t>("a value"));
    case GgufType::u32:
      return from_signed(in.number<uint32_t>("a value"));
    case GgufType::i32:
      return from_signed(in.number<int32_t>("a value"));
    case GgufType::u64:
      return from_unsigned(in.number<uint64_t>("a value"));
    case GgufType::i64:
      return from_signed(in.number<int64_t>("a value"));
    case GgufType::f32:
      return static_cast<double>(in.number<float>("a value"));
    case GgufType::f64:
      return in.number<double>("a value");
    case GgufType::boolean:
      return in.number<uint8_t>("a value") != 0;
    case GgufType::string:
      return std::string(in.text(in.number<uint64_t>("a length"), "a string"));
    case GgufType::array:
      return array_meta(element, count, in);
  }
  fail(ErrorKind::internal, "GGUF value of an unknown type");
}

}  // namespace nibble
