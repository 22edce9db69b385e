#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nibble {

/// How a text is cut into pieces that a model predicts; two perplexities compare only under the same
/// protocol.
struct Protocol {
  enum class Kind : uint8_t {
    chunks,  ///< llama.cpp: disjoint chunks of `context` tokens, the first replaced by BOS, the second half
             ///< scored
    stride,  ///< Hugging Face: overlapping windows, every token of the text scored once with at least context
             ///< - stride before it
  };
  Kind kind = Kind::chunks;
  int64_t context = 512;
  int64_t stride = 256;     ///< Kind::stride only
  int64_t max_windows = 0;  ///< 0: the whole text

  bool operator==(const Protocol&) const = default;
  /// "chunks of 256, second half scored, first 100".
  std::string to_string() const;
};

/// Tokens for one forward pass; rows [first, tokens.size() - 1) predict tokens [first + 1, tokens.size()).
struct EvalWindow {
  std::vector<int32_t> tokens;
  int64_t first = 0;
};

/// Cuts a text. `bos` is what chunks begin with, where the tokenizer adds one. Throws Error{usage} for a
/// context that is too short, Error{bad_input} if the text is.
std::vector<EvalWindow> cut_windows(std::span<const int32_t> tokens, std::optional<int32_t> bos,
                                    const Protocol& protocol);

}  // namespace nibble
