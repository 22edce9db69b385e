#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"

namespace nibble {

/// Turns ids into bytes, one at a time.
class Detokenizer {
 public:
  /// `data` must outlive it.
  explicit Detokenizer(const TokenizerData& data);

  struct State {
    bool skip_special = true;
    bool first = true;       ///< no token has been put out yet
    bool at_start = true;    ///< a leading space is still to be dropped
    size_t stripped = 0;     ///< characters dropped in front so far
    bool lead_done = false;  ///< nothing more is dropped in front
    std::string held;        ///< bytes that the end of the stream may drop
    std::string incomplete;  ///< bytes of an unfinished code point
  };
  State start(bool skip_special, bool continuation) const;

  /// Appends the code points that `id` completes to `out`.
  void push(State& state, int32_t id, std::string& out) const;
  /// Appends the rest.
  void finish(State& state, std::string& out) const;

 private:
  enum class Scheme { sentencepiece, bert, pipeline };
  std::string sentencepiece_bytes(State& state, int32_t id) const;
  std::string bert_bytes(const State& state, int32_t id) const;
  std::string pipeline_bytes(const State& state, int32_t id) const;
  void emit(State& state, std::string_view bytes, std::string& out) const;

  const TokenizerData& data_;
  Scheme scheme_;
  std::string lead_char_, tail_char_;  ///< what the whole text loses in front and at its end
  size_t lead_ = 0, tail_ = 0;
  bool word_suffix_ = false;
};

/// Removes the space before punctuation and English contractions, as the WordPiece decoder does for each
/// token.
void clean_up_spaces(std::string& text);

}  // namespace nibble
