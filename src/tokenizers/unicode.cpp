#include "tokenizers/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "tokenizers/utf8.h"

namespace nibble::unicode {

namespace {

utf8proc_category_t category(char32_t code) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

}  // namespace

bool is_whitespace(char32_t code) noexcept {
  if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
  const auto c = category(code);
  return code == 0x85 || c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

bool is_number(char32_t code) noexcept {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t code) noexcept {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_symbol(char32_t code) noexcept {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_SM && c <= UTF8PROC_CATEGORY_SO;
}

bool is_mark(char32_t code) noexcept {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(char32_t code) noexcept { return category(code) == UTF8PROC_CATEGORY_MN; }

bool is_control(char32_t code) noexcept {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_CN || c >= UTF8PROC_CATEGORY_CC;
}

bool is_word(char32_t code) noexcept {
  const auto c = category(code);
  return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || is_mark(code) ||
         c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC ||
         code == 0x200c || code == 0x200d;
}

bool is_ideograph(char32_t code) noexcept {
  // The fifth range begins where the reference's does, not where the block (Extension E, U+2B820) does.
  constexpr std::array<std::pair<char32_t, char32_t>, 8> blocks = {{{0x4e00, 0x9fff},
                                                                    {0x3400, 0x4dbf},
                                                                    {0x20000, 0x2a6df},
                                                                    {0x2a700, 0x2b73f},
                                                                    {0x2b740, 0x2b81f},
                                                                    {0x2b920, 0x2ceaf},
                                                                    {0xf900, 0xfaff},
                                                                    {0x2f800, 0x2fa1f}}};
  for (const auto& [first, last] : blocks)
    if (code >= first && code <= last) return true;
  return false;
}

char32_t to_lower(char32_t code) noexcept {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}

std::string normalize(std::string_view text, Form form) {
  unsigned options = UTF8PROC_STABLE;
  options |= form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Form::nfkc || form == Form::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &raw, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(raw, std::free);
  if (size < 0) fail(ErrorKind::bad_input, "cannot normalize the text: {}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(raw), static_cast<size_t>(size)};
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    if (c.code == 0x130)
      out += "i\u0307";  // the only code point whose lower case is two
    else
      utf8::append(out, to_lower(c.code));
    text.remove_prefix(c.length);
  }
  return out;
}

std::string strip_marks(std::string_view text, bool nonspacing) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    if (!(nonspacing ? is_nonspacing_mark(c.code) : is_mark(c.code))) out += text.substr(0, c.length);
    text.remove_prefix(c.length);
  }
  return out;
}

char32_t base_of(char32_t code) noexcept {
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code), parts.data(), parts.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
  return count > 0 ? static_cast<char32_t>(parts[0]) : code;
}

size_t grapheme_length(std::string_view text) noexcept {
  utf8proc_int32_t state = 0;
  utf8::Decoded c = utf8::decode(text);
  size_t at = c.length;
  while (at < text.size()) {
    const utf8::Decoded next = utf8::decode(text.substr(at));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.code),
                                         static_cast<utf8proc_int32_t>(next.code), &state))
      break;
    c = next;
    at += c.length;
  }
  return at;
}

}  // namespace nibble::unicode
