#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/executor.h"
#include "model/sampler.h"
#include "tokenizers/tokenizer.h"

namespace nibble {

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
};

struct Generation {
  std::vector<int32_t> tokens;  ///< generated, without the one that ended it
  std::string text;             ///< all that the callback got
  StopReason reason = StopReason::max_tokens;
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  ///< of the prompt, still cached from the run before
  int64_t shifts = 0;         ///< times the context was cut
  double prefill_seconds = 0, decode_seconds = 0;

  /// Tokens a second; 0 where nothing was run.
  double prefill_rate() const noexcept;
  double decode_rate() const noexcept;
};

/// Writes text with a model, and remembers what it has read: a prompt that begins like the sequence so far
/// (the next turn of a chat) only costs its new part. The program, tokenizer and pool must outlive it.
class Generator {
 public:
  /// `context`: tokens that one sequence may have; 0: what the model was trained for. Throws Error{usage} for
  /// encoders and for a context above a model's learned positions. `kv` is how keys and values are kept
  /// (KvStorages::parse).
  Generator(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool, int64_t context = 0,
            std::string_view kv = "f32");

  /// Continues `prompt`. `on_text` gets pieces of valid UTF-8 as soon as they can no longer become part of a
  /// stop string; returning false stops. Throws Error{usage} if the prompt is empty or does not fit.
  Generation generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                      const std::function<bool(std::string_view)>& on_text = {});

  int64_t context() const noexcept { return cache_.capacity(); }
  const KvCache& cache() const noexcept { return cache_; }
  /// Tokens in the cache.
  const std::vector<int32_t>& tokens() const noexcept { return tokens_; }

 private:
  std::vector<float> read(std::span<const int32_t> tokens);
  std::vector<float> shift();

  const Program& program_;
  const Tokenizer& tokenizer_;
  Executor executor_;
  KvCache cache_;
  std::vector<int32_t> tokens_;
};

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

}  // namespace nibble
