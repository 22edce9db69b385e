#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "model/batch_generate.h"

namespace nibble::cli {

/// Prompts that are continued together.
struct BatchJob {
  const Program& program;
  const Tokenizer& tokenizer;
  ThreadPool& pool;
  const std::vector<std::string>& prompts;
  const std::vector<std::vector<int32_t>>& ids;  ///< of each prompt
  const GenerateOptions& generate;
  BatchOptions batch;
};

/// Prints the prompts with their continuations in the order of the file, as JSON or text.
void run_batch(const BatchJob& job, const Common& common);

/// Lines that are not empty, without their ends.
std::vector<std::string> lines_of(const std::string& text);

}  // namespace nibble::cli
