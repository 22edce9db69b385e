#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"

namespace nibble {

/// What a name in `tokenizer.ggml.pre` stands for.
struct PreRule {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = true;      ///< tokens spell bytes as code points; else raw UTF-8 with <0xHH>
  bool escape_spaces = false;  ///< spaces become U+2581 first
  bool ignore_merges = false;
  bool add_bos = false;  ///< where the file does not say
  bool add_sep = false;  ///< likewise, at the end
  bool no_bos = false;   ///< there is no begin-of-sequence token unless the file names one
};

/// Nothing if the name is unknown. An empty name is `default`.
std::optional<PreRule> gguf_pre_rule(std::string_view name);

/// Every known name.
std::vector<std::string> gguf_pre_names();

}  // namespace nibble
