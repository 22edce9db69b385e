#include "tokenizers/byte_level.h"

#include <array>
#include <cstdint>

#include "tokenizers/utf8.h"

namespace nibble {

namespace {

struct Table {
  std::array<std::string, 256> spelled;
  std::array<int16_t, 324> byte;  ///< by code point; -1 where there is none
};

const Table& table() {
  static const Table made = [] {
    Table t;
    t.byte.fill(-1);
    char32_t next = 256;
    for (size_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      const char32_t code = printable ? static_cast<char32_t>(b) : next++;
      utf8::append(t.spelled[b], code);
      t.byte[code] = static_cast<int16_t>(b);
    }
    return t;
  }();
  return made;
}

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  const Table& t = table();
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += t.spelled[static_cast<unsigned char>(c)];
  return out;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  const Table& t = table();
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const utf8::Decoded decoded = utf8::decode(text);
    if (!decoded.valid || decoded.code >= t.byte.size() || t.byte[decoded.code] < 0) return std::nullopt;
    out += static_cast<char>(t.byte[decoded.code]);
    text.remove_prefix(decoded.length);
  }
  return out;
}

}  // namespace nibble
