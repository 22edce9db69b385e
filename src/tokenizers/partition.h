#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/trie.h"

namespace nibble {

/// A stretch of the input: a token that was spelled in it, or text for the encoder (id -1).
struct Part {
  std::string_view text;
  int32_t id = -1;
};

/// Cuts special tokens out of a text as llama.cpp does: longer tokens first, each from left to right.
class Partition {
 public:
  explicit Partition(const TokenizerData& data);

  /// Tokens of the types control and unknown count only if `parse_special`.
  std::vector<Part> split(std::string_view text, bool parse_special) const;

 private:
  struct Special {
    bool always = false;  ///< also without parse_special
    bool lstrip = false, rstrip = false;
  };
  Trie trie_;
  std::vector<Special> special_;  ///< by id
};

}  // namespace nibble
