#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

/// sentencepiece's precompiled character map: a double-array trie (Darts-clone layout: 32-bit units with
/// label, offset and leaf bits) of prefixes, and zero-terminated replacement strings. The blob is the trie's
/// size in bytes (u32, little endian), the trie, then the strings.
class Charsmap {
 public:
  /// An empty blob makes an empty map. Throws Error{bad_input} if sizes do not add up; `where` names the
  /// field in the message.
  Charsmap(std::string_view blob, std::string_view where);

  bool empty() const noexcept { return units_.empty(); }

  struct Match {
    size_t length;                 ///< bytes of the input that are replaced
    std::string_view replacement;  ///< valid as long as the map
  };
  std::optional<Match> longest(std::string_view input) const { return find(input, true); }
  std::optional<Match> shortest(std::string_view input) const { return find(input, false); }

 private:
  std::optional<Match> find(std::string_view input, bool longest) const;

  std::vector<uint32_t> units_;
  std::string strings_;
};

}  // namespace nibble
