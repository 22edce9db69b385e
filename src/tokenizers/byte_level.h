#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nibble {

// GPT-2's reversible map between bytes and printable code points: bytes 0x21–0x7E, 0xA1–0xAC, 0xAE–0xFF are
// themselves, the other 68 follow from U+0100 on in order.

/// Every byte of `bytes` as its code point, in UTF-8.
std::string to_byte_level(std::string_view bytes);

/// The inverse; nothing if `text` holds a code point that stands for no byte.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace nibble
