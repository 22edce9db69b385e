#pragma once

#include <string>

#include "model/generate.h"

namespace nibble::cli {

struct ChatOptions {
  std::string system;  ///< first message; empty: none
  std::string first;   ///< first question; empty: read one
  bool quiet = false;
};

/// Talks with whoever types on standard input, line by line, until its end, an empty context or an interrupt.
/// Turns before the last one stay in the generator's cache.
void chat(Generator& generator, const Tokenizer& tokenizer, const GenerateOptions& options,
          const ChatOptions& chat);

}  // namespace nibble::cli
