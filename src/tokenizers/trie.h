#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

/// A read-only byte trie: finds which keys a text begins with.
class Trie {
 public:
  Trie() = default;
  /// Keys with their values (>= 0). Of equal keys the first counts; empty keys are ignored.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> keys);

  bool empty() const noexcept { return nodes_.empty(); }

  static constexpr uint32_t root = 0;
  static constexpr uint32_t none = UINT32_MAX;
  uint32_t child(uint32_t node, char byte) const noexcept;
  int32_t value(uint32_t node) const noexcept { return nodes_[node].value; }  ///< -1 if no key ends here

  struct Match {
    size_t length = 0;  ///< 0 if no key is a prefix
    int32_t value = -1;
  };
  Match longest(std::string_view text) const noexcept;

 private:
  struct Node {
    uint32_t first = 0;  ///< children stand next to each other, ordered by label
    uint16_t count = 0;
    unsigned char label = 0;
    int32_t value = -1;
  };
  std::vector<Node> nodes_;
};

}  // namespace nibble
