#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::utf8 {

inline constexpr std::string_view replacement = "\xef\xbf\xbd";  ///< U+FFFD
inline constexpr std::string_view meta_space = "\xe2\x96\x81";   ///< U+2581, sentencepiece's visible space

/// Length in bytes that a leading byte announces (1 to 4); 1 for bytes that cannot lead.
inline size_t announced_length(char lead) noexcept {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0xc0 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/// First code point of `text` (not empty) and its length. Overlong forms, surrogates and numbers above
/// U+10FFFF are invalid.
struct Decoded {
  char32_t code;
  size_t length;
  bool valid;  ///< if false, `length` is 1 and `code` is U+FFFD
};
Decoded decode(std::string_view text) noexcept;

void append(std::string& out, char32_t code);

/// True if `text` could become one valid code point by appending bytes.
bool is_prefix(std::string_view text) noexcept;

/// Length of `text` up to which the outcome of lossy() does not depend on what follows.
size_t complete_length(std::string_view text) noexcept;

enum class Lossy {
  per_byte,  ///< every invalid byte becomes a U+FFFD (sentencepiece, llama.cpp)
  maximal,   ///< every longest prefix of a valid sequence becomes one U+FFFD (Unicode, Rust, Python)
};
/// `text` with invalid bytes replaced.
std::string lossy(std::string_view text, Lossy how);

bool valid(std::string_view text) noexcept;

}  // namespace nibble::utf8
