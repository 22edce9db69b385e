#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/executor.h"
#include "model/text_writer.h"

namespace nibble {

struct BatchOptions {
  int64_t together = 8;        ///< sequences that run at once
  int64_t context = 0;         ///< tokens that each may have; 0: what the model was trained for
  std::string kv = "f32";      ///< KvStorages::parse
  int64_t prompt_piece = 256;  ///< tokens of a prompt that one step reads, so that the others need not wait
};

/// What a whole run took.
struct BatchReport {
  int64_t steps = 0, prompt_tokens = 0, generated_tokens = 0;
  double seconds = 0;
  bool interrupted = false;
};

/// Continues many prompts, some at once: every step reads the weights once for all sequences, and one that is
/// finished makes place for the next (continuous batching: Yu et al., Orca, OSDI 2022). Each gets what it
/// would get alone, with exact products to the bit. `done` is told of each generation as it ends, with the
/// number of its prompt. Context shifts work; GenerateOptions::drafter does not. Throws Error{usage} for a
/// prompt that is empty or does not fit, before anything runs.
BatchReport generate_batch(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool,
                           std::span<const std::vector<int32_t>> prompts, const GenerateOptions& options,
                           const BatchOptions& batch,
                           const std::function<void(size_t, const Generation&)>& done);

}  // namespace nibble
