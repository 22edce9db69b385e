#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/vocab.h"

namespace nibble {

/// Turns one pre-tokenized word into ids. Immutable.
class WordModel {
 public:
  WordModel() = default;
  WordModel(const WordModel&) = delete;
  WordModel& operator=(const WordModel&) = delete;
  virtual ~WordModel() = default;

  /// Appends the ids of `word` (valid UTF-8, already spelled as the vocabulary spells it).
  virtual void encode(std::string_view word, std::vector<int32_t>& ids) const = 0;
};

// Both arguments must outlive the model.
std::unique_ptr<WordModel> make_bpe(const TokenizerData& data, const Vocab& vocab);
std::unique_ptr<WordModel> make_word_piece(const TokenizerData& data, const Vocab& vocab);
std::unique_ptr<WordModel> make_unigram(const TokenizerData& data, const Vocab& vocab);
std::unique_ptr<WordModel> make_word_level(const TokenizerData& data, const Vocab& vocab);

}  // namespace nibble
