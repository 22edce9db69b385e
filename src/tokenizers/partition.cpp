#include "tokenizers/partition.h"

#include <algorithm>

namespace nibble {

namespace {
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
}  // namespace

Partition::Partition(const TokenizerData& data) : special_(data.tokens.size()) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const TokenType type = data.types[i];
    // sentencepiece looks for user-defined pieces itself, while it normalizes.
    const bool user = type == TokenType::user_defined && data.source == TokenizerSource::gguf;
    const bool control =
        type == TokenType::control || (type == TokenType::unknown && data.source == TokenizerSource::gguf);
    if (!user && !control) continue;
    special_[i].always = user;
    keys.emplace_back(data.tokens[i], static_cast<int32_t>(i));
  }
  for (const AddedToken& added : data.added) {
    special_[static_cast<size_t>(added.id)].lstrip = added.lstrip;
    special_[static_cast<size_t>(added.id)].rstrip = added.rstrip;
  }
  trie_ = Trie(std::move(keys));
}

std::vector<Part> Partition::split(std::string_view text, bool parse_special) const {
  struct Found {
    size_t begin, end;
    int32_t id;
  };
  std::vector<Found> all;
  for (size_t at = 0; at < text.size() && !trie_.empty(); ++at) {
    uint32_t node = Trie::root;
    for (size_t end = at; end < text.size(); ++end) {
      node = trie_.child(node, text[end]);
      if (node == Trie::none) break;
      const int32_t id = trie_.value(node);
      if (id >= 0 && (parse_special || special_[static_cast<size_t>(id)].always))
        all.push_back({at, end + 1, id});
    }
  }
  std::vector<Part> parts;
  if (all.empty()) {
    if (!text.empty()) parts.push_back({text, -1});
    return parts;
  }
  std::stable_sort(all.begin(), all.end(), [](const Found& a, const Found& b) {
    const size_t length_a = a.end - a.begin, length_b = b.end - b.begin;
    return length_a != length_b ? length_a > length_b : a.id != b.id ? a.id < b.id : a.begin < b.begin;
  });
  std::vector<bool> taken(text.size());
  std::vector<Found> kept;
  for (Found found : all) {
    if (std::any_of(taken.begin() + static_cast<std::ptrdiff_t>(found.begin),
                    taken.begin() + static_cast<std::ptrdiff_t>(found.end), [](bool t) { return t; }))
      continue;
    const Special& special = special_[static_cast<size_t>(found.id)];
    while (special.lstrip && found.begin > 0 && !taken[found.begin - 1] && is_space(text[found.begin - 1]))
      --found.begin;
    while (special.rstrip && found.end < text.size() && !taken[found.end] && is_space(text[found.end]))
      ++found.end;
    std::fill(taken.begin() + static_cast<std::ptrdiff_t>(found.begin),
              taken.begin() + static_cast<std::ptrdiff_t>(found.end), true);
    kept.push_back(found);
  }
  std::sort(kept.begin(), kept.end(), [](const Found& a, const Found& b) { return a.begin < b.begin; });
  size_t at = 0;
  for (const Found& found : kept) {
    if (found.begin > at) parts.push_back({text.substr(at, found.begin - at), -1});
    parts.push_back({text.substr(found.begin, found.end - found.begin), found.id});
    at = found.end;
  }
  if (at < text.size()) parts.push_back({text.substr(at), -1});
  return parts;
}

}  // namespace nibble
