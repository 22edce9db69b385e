#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/partition.h"
#include "tokenizers/text_normalizer.h"
#include "tokenizers/trie.h"

namespace nibble {

/// Finds added tokens as tokenizers does: leftmost, then longest; with the rules for word borders and
/// swallowed whitespace.
class AddedTokens {
 public:
  /// The tokens of `data` whose `normalized` is `normalized`; their spelling runs through `normalizer` then.
  AddedTokens(const TokenizerData& data, bool normalized, const TextNormalizer& normalizer);

  /// Special tokens count only if `parse_special`.
  std::vector<Part> split(std::string_view text, bool parse_special) const;

 private:
  const TokenizerData& data_;
  std::deque<std::string> spelled_;
  Trie plain_, all_;  ///< values are indices into data_.added
};

}  // namespace nibble
