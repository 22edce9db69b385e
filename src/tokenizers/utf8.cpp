#include "tokenizers/utf8.h"

#include <algorithm>

namespace nibble::utf8 {

namespace {

/// Smallest and largest second byte that may follow `lead` (Unicode standard, table 3-7).
struct Second {
  unsigned char low, high;
};

Second second_byte(unsigned char lead) noexcept {
  switch (lead) {
    case 0xe0:
      return {0xa0, 0xbf};
    case 0xed:
      return {0x80, 0x9f};
    case 0xf0:
      return {0x90, 0xbf};
    case 0xf4:
      return {0x80, 0x8f};
    default:
      return {0x80, 0xbf};
  }
}

size_t sequence_length(unsigned char lead) noexcept {
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/// Bytes of `text` that agree with a valid sequence, and whether that sequence is complete.
struct Match {
  size_t length;
  bool complete;
};

Match match(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t want = sequence_length(byte(0));
  if (want <= 1) return {want, want == 1};
  size_t n = 1;
  while (n < want && n < text.size()) {
    const Second bounds = n == 1 ? second_byte(byte(0)) : Second{0x80, 0xbf};
    if (byte(n) < bounds.low || byte(n) > bounds.high) break;
    ++n;
  }
  return {n, n == want};
}

}  // namespace

Decoded decode(std::string_view text) noexcept {
  const Match found = match(text);
  if (!found.complete) return {0xfffd, 1, false};
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  switch (found.length) {
    case 1:
      return {byte(0), 1, true};
    case 2:
      return {((byte(0) & 0x1f) << 6) | (byte(1) & 0x3f), 2, true};
    case 3:
      return {((byte(0) & 0x0f) << 12) | ((byte(1) & 0x3f) << 6) | (byte(2) & 0x3f), 3, true};
    default:
      return {
          ((byte(0) & 0x07) << 18) | ((byte(1) & 0x3f) << 12) | ((byte(2) & 0x3f) << 6) | (byte(3) & 0x3f), 4,
          true};
  }
}

void append(std::string& out, char32_t code) {
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) code = 0xfffd;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

bool is_prefix(std::string_view text) noexcept {
  if (text.empty()) return true;
  const Match found = match(text);
  return !found.complete && found.length == text.size();
}

size_t complete_length(std::string_view text) noexcept {
  for (size_t back = std::min<size_t>(3, text.size()); back > 0; --back)
    if (is_prefix(text.substr(text.size() - back))) return text.size() - back;
  return text.size();
}

std::string lossy(std::string_view text, Lossy how) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Match found = match(text);
    if (found.complete) {
      out += text.substr(0, found.length);
      text.remove_prefix(found.length);
    } else {
      out += replacement;
      text.remove_prefix(how == Lossy::maximal ? std::max<size_t>(found.length, 1) : 1);
    }
  }
  return out;
}

bool valid(std::string_view text) noexcept {
  while (!text.empty()) {
    const Match found = match(text);
    if (!found.complete) return false;
    text.remove_prefix(found.length);
  }
  return true;
}

}  // namespace nibble::utf8
