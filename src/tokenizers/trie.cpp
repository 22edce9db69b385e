#include "tokenizers/trie.h"

#include <algorithm>

namespace nibble {

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::erase_if(keys, [](const auto& key) { return key.first.empty(); });
  if (keys.empty()) return;
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  keys.erase(
      std::unique(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
      keys.end());

  // Level by level: each node covers the range of keys that share its prefix.
  struct Range {
    size_t low, high, depth;
  };
  nodes_.push_back({});
  std::vector<Range> ranges{{0, keys.size(), 0}};
  for (size_t n = 0; n < nodes_.size(); ++n) {
    auto [low, high, depth] = ranges[n];
    if (keys[low].first.size() == depth) nodes_[n].value = keys[low++].second;
    nodes_[n].first = static_cast<uint32_t>(nodes_.size());
    while (low < high) {
      const char label = keys[low].first[depth];
      size_t end = low + 1;
      while (end < high && keys[end].first[depth] == label) ++end;
      Node child;
      child.label = static_cast<unsigned char>(label);
      nodes_.push_back(child);
      ranges.push_back({low, end, depth + 1});
      ++nodes_[n].count;
      low = end;
    }
  }
}

uint32_t Trie::child(uint32_t node, char byte) const noexcept {
  const Node& parent = nodes_[node];
  const auto label = static_cast<unsigned char>(byte);
  const auto begin = nodes_.begin() + parent.first;
  const auto end = begin + parent.count;
  if (parent.count == 256) return parent.first + label;
  const auto found =
      std::lower_bound(begin, end, label, [](const Node& a, unsigned char b) { return a.label < b; });
  return found != end && found->label == label ? static_cast<uint32_t>(found - nodes_.begin()) : none;
}

Trie::Match Trie::longest(std::string_view text) const noexcept {
  Match best;
  if (nodes_.empty()) return best;
  uint32_t node = root;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == none) break;
    if (value(node) >= 0) best = {i + 1, value(node)};
  }
  return best;
}

}  // namespace nibble
