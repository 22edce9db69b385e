#pragma once

#include <string>
#include <string_view>

#include "tokenizers/charsmap.h"
#include "tokenizers/data.h"
#include "tokenizers/trie.h"

namespace nibble {

/// sentencepiece's normalizer: character map, whitespace rules, visible spaces. User-defined pieces pass
/// unchanged.
class SpmNormalizer {
 public:
  /// `user_defined` maps the pieces that must not be changed. The data must outlive the normalizer.
  SpmNormalizer(const TokenizerData& data, const Trie& user_defined);

  /// Always valid UTF-8, whatever the input.
  std::string run(std::string_view text) const;

 private:
  struct Step {
    std::string_view text;
    size_t consumed;
  };
  Step next(std::string_view input) const;

  const TokenizerData& data_;
  const Trie& user_defined_;
  Charsmap map_;
};

}  // namespace nibble
