#pragma once

#include <string>
#include <string_view>

namespace nibble::unicode {

// Properties of code points (Unicode character database, by utf8proc).
bool is_whitespace(char32_t code) noexcept;   ///< White_Space
bool is_number(char32_t code) noexcept;       ///< general category N
bool is_punctuation(char32_t code) noexcept;  ///< general category P
bool is_symbol(char32_t code) noexcept;       ///< general category S
bool is_mark(char32_t code) noexcept;         ///< general category M
bool is_nonspacing_mark(char32_t code) noexcept;
bool is_control(char32_t code) noexcept;    ///< general category C, unassigned included
bool is_word(char32_t code) noexcept;       ///< letter, mark, digit or connector
bool is_ideograph(char32_t code) noexcept;  ///< the CJK blocks that BERT sets apart
char32_t to_lower(char32_t code) noexcept;  ///< simple mapping

enum class Form { nfc, nfd, nfkc, nfkd };
std::string normalize(std::string_view text, Form form);
/// Full mapping of each code point by itself, as Rust's char::to_lowercase.
std::string lowercase(std::string_view text);
/// `text` without marks; only nonspacing ones (category Mn) if `nonspacing`, else all (M).
std::string strip_marks(std::string_view text, bool nonspacing);
/// First code point of the full canonical decomposition.
char32_t base_of(char32_t code) noexcept;
/// Length in bytes of the first grapheme cluster of `text` (valid UTF-8, not empty).
size_t grapheme_length(std::string_view text) noexcept;

}  // namespace nibble::unicode
