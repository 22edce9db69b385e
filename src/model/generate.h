#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/executor.h"
#include "model/speculate.h"
#include "model/text_writer.h"

namespace nibble {

/// Tokens that a sequence may have if `asked` are asked for; 0: what the model was trained for. Throws
/// Error{usage} for encoders and for more than a model's learned positions.
int64_t usable_context(const Program& program, int64_t asked);

/// Writes text with a model, and remembers what it has read: a prompt that begins like the sequence so far
/// (the next turn of a chat) only costs its new part. The program, tokenizer and pool must outlive it.
class Generator {
 public:
  /// `context`: tokens that one sequence may have (usable_context). `kv` is how keys and values are kept
  /// (KvStorages::parse).
  Generator(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool, int64_t context = 0,
            std::string_view kv = "f32");

  /// Continues `prompt`. `on_text` gets pieces of valid UTF-8 as soon as they can no longer become part of a
  /// stop string; returning false stops. Throws Error{usage} if the prompt is empty or does not fit.
  Generation generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                      const TextCallback& on_text = {});

  int64_t context() const noexcept { return cache_.capacity(); }
  const KvCache& cache() const noexcept { return cache_; }
  const Program& program() const noexcept { return program_; }
  /// Tokens in the cache.
  const std::vector<int32_t>& tokens() const noexcept { return tokens_; }

 private:
  void read(std::span<const int32_t> tokens, Want want);
  /// A row of what the last `read` gave.
  std::span<const float> logits(size_t row) const;
  void forget(size_t length);
  void shift();
  Proposal guess(int32_t token, const GenerateOptions& options, const Sampler& sampler,
                 const Generation& so_far);
  /// Runs `token` and what is guessed to follow it, and writes what proves right; false where that ends the
  /// generation. `sampled` says whether another token was chosen, now `token`, that comes next.
  bool step(int32_t& token, bool& sampled, const GenerateOptions& options, Sampler& sampler,
            TextWriter& writer);

  const Program& program_;
  const Tokenizer& tokenizer_;
  Executor executor_;
  KvCache cache_;
  std::vector<int32_t> tokens_;  ///< in the cache
  std::vector<float> logits_;
  size_t last_row_ = 0;  ///< of the logits: what follows the last token
};

}  // namespace nibble
