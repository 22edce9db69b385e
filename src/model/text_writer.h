#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/sampler.h"
#include "tokenizers/tokenizer.h"

namespace nibble {

class Drafter;  // model/speculate.h

enum class StopReason : uint8_t { end_of_text, stop_string, max_tokens, context_full, interrupted };
/// "end of text", "stop string", ...
std::string_view stop_reason_name(StopReason reason) noexcept;

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = -1;        ///< -1: until something else stops it
  std::vector<std::string> stop;  ///< text that ends the generation; not part of the output
  bool ignore_end = false;        ///< go on after an end-of-text token
  /// When the context is full: false stops; true forgets the older half of the tokens after the beginning of
  /// sequence, runs the rest again and goes on.
  bool context_shift = false;
  /// Guesses tokens ahead; null: nobody does. The text is distributed as without, and the same at temperature
  /// 0 (with fast products, up to rounding).
  Drafter* drafter = nullptr;
  int64_t draft_tokens = 4;  ///< at most so many at once
};

struct Generation {
  std::vector<int32_t> tokens;  ///< generated, without the one that ended it
  std::string text;             ///< all that the callback got
  StopReason reason = StopReason::max_tokens;
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  ///< of the prompt, still cached from the run before
  int64_t shifts = 0;         ///< times the context was cut
  int64_t steps = 0;          ///< times the model ran after the prompt
  int64_t proposed = 0;       ///< tokens guessed ahead (model/speculate.h)
  int64_t accepted = 0;       ///< of these, tokens that the model agreed to
  double prefill_seconds = 0, decode_seconds = 0;

  /// Tokens a second; 0 where nothing was run.
  double prefill_rate() const noexcept;
  double decode_rate() const noexcept;
};

/// Gets pieces of text as soon as they are safe to show; false stops the generation.
using TextCallback = std::function<bool(std::string_view)>;

/// Holds back text that may turn out to be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stop);
  /// Text that is safe to show; after a stop string was met, nothing more.
  std::string push(std::string_view piece);
  /// What was held back, if no stop string came of it.
  std::string finish();
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

/// Turns the tokens of one generation into text and says when it ends. The options and the tokenizer must
/// outlive it.
class TextWriter {
 public:
  TextWriter(const Tokenizer& tokenizer, const GenerateOptions& options, TextCallback on_text);

  /// False, with the reason set, where no further token is wanted.
  bool wants_more();
  /// Takes the next token; false, with the reason set, if the generation ends with it.
  bool take(int32_t token);
  /// Shows what was held back.
  void finish();

  Generation& result() noexcept { return result_; }

 private:
  void show(const std::string& text);
  bool end(StopReason reason);

  const Tokenizer& tokenizer_;
  const GenerateOptions& options_;
  TextCallback on_text_;
  Tokenizer::StreamDecoder decoder_;
  StopFilter filter_;
  bool wanted_ = true;
  Generation result_;
};

/// The tokens that stay when a full context forgets its older half: the beginning of sequence and the newer
/// ones.
std::vector<int32_t> shifted_context(std::span<const int32_t> tokens, const Tokenizer& tokenizer);

}  // namespace nibble
