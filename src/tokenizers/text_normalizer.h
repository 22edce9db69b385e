#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/charsmap.h"
#include "tokenizers/data.h"
#include "tokenizers/regex.h"

namespace nibble {

/// The normalizer pipeline of tokenizer.json.
class TextNormalizer {
 public:
  explicit TextNormalizer(const std::vector<NormalizerStep>& steps);

  bool empty() const noexcept { return steps_.empty(); }
  /// `text` is valid UTF-8, and so is the result.
  std::string run(std::string text) const;

 private:
  struct Step {
    NormalizerStep what;
    std::vector<Regex> regex;   ///< replace: one or none
    std::vector<Charsmap> map;  ///< precompiled: one or none
  };
  static std::string apply(const Step& step, std::string text);

  std::vector<Step> steps_;
};

}  // namespace nibble
