#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/regex.h"

namespace nibble {

/// Cuts text into the words that the model sees one by one: the pre-tokenizer pipeline of tokenizer.json.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps);

  struct Word {
    std::string_view text;
    bool first;  ///< starts the input
  };
  /// Words of one text. Views point into the text or into `storage`.
  struct Words {
    std::deque<std::string> storage;
    std::vector<Word> list;
  };
  /// `text` is valid UTF-8 and must outlive `words`.
  void run(std::string_view text, bool first, Words& words) const;

  /// The last step spells bytes as code points (see byte_level.h). run() leaves this to the caller, who can
  /// do it once for equal words.
  bool spells_bytes() const noexcept { return spells_bytes_; }

 private:
  struct Step {
    PreTokenizerStep what;
    std::optional<Regex> regex;
  };
  struct Range {
    size_t begin, end;
    bool match;
  };
  static std::vector<Range> ranges(const Step& step, std::string_view text, Regex::Matcher* matcher);
  static void cut(const Step& step, const std::vector<Word>& in, std::vector<Word>& out);
  static void metaspace(const Step& step, const std::vector<Word>& in, Words& words, std::vector<Word>& out);

  std::vector<Step> steps_;
  bool spells_bytes_ = false;
};

/// GPT-2's expression, which the ByteLevel step splits with.
extern const char* const gpt2_pattern;

}  // namespace nibble
