#include "tokenizers/charsmap.h"

#include <cstring>

#include "base/error.h"

namespace nibble {

namespace {

uint32_t read_u32(std::string_view bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i)
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i);
  return value;
}

// Layout of one unit of the double array.
bool has_leaf(uint32_t unit) { return ((unit >> 8) & 1) == 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t label_of(uint32_t unit) { return unit & (0x80000000u | 0xffu); }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view where) {
  if (blob.empty()) return;
  if (blob.size() < 4) fail(ErrorKind::bad_input, "{}: {} bytes, expected at least 4", where, blob.size());
  const uint32_t trie_bytes = read_u32(blob, 0);
  if (trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4)
    fail(ErrorKind::bad_input, "{}: the trie claims {} bytes of the {} that follow", where, trie_bytes,
         blob.size() - 4);
  units_.resize(trie_bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(blob, 4 + 4 * i);
  strings_ = blob.substr(4 + trie_bytes);
  if (!strings_.empty() && strings_.back() != '\0')
    fail(ErrorKind::bad_input, "{}: the last replacement string has no end", where);
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view input, bool longest) const {
  std::optional<Match> best;
  if (units_.empty()) return best;
  uint32_t node = offset_of(units_[0]);
  for (size_t i = 0; i < input.size(); ++i) {
    const auto byte = static_cast<unsigned char>(input[i]);
    node ^= byte;
    // A damaged trie may point anywhere: leaving the array means no match.
    if (byte == 0 || node >= units_.size() || label_of(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const uint32_t at = value_of(units_[node]);
    if (at >= strings_.size()) break;
    best = Match{i + 1, std::string_view(strings_.data() + at, std::strlen(strings_.data() + at))};
    if (!longest) break;
  }
  return best;
}

}  // namespace nibble
