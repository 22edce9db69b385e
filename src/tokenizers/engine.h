#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/vocab.h"

namespace nibble {

/// Turns text between special tokens into ids. Immutable.
class TextEncoder {
 public:
  TextEncoder() = default;
  TextEncoder(const TextEncoder&) = delete;
  TextEncoder& operator=(const TextEncoder&) = delete;
  virtual ~TextEncoder() = default;

  struct Place {
    bool first;          ///< the text starts the input
    bool after_special;  ///< the text starts the input or follows a special token
    bool parse_special;  ///< for encoders that look for special tokens themselves
  };
  /// Appends the ids of `text` to `ids`.
  virtual void encode(std::string_view text, Place place, std::vector<int32_t>& ids) const = 0;
  /// The encoder looks for special tokens itself and gets the whole input.
  virtual bool finds_special() const { return false; }
};

/// The encoder for `data`. Both arguments must outlive it.
std::unique_ptr<TextEncoder> make_encoder(const TokenizerData& data, const Vocab& vocab);

// One maker per reference program. The data and the vocabulary must outlive the encoder.
std::unique_ptr<TextEncoder> make_sentencepiece_encoder(const TokenizerData& data, const Vocab& vocab);
std::unique_ptr<TextEncoder> make_pipeline_encoder(const TokenizerData& data, const Vocab& vocab);
std::unique_ptr<TextEncoder> make_gguf_encoder(const TokenizerData& data, const Vocab& vocab);

}  // namespace nibble
