#pragma once

#include "base/meta.h"
#include "tokenizers/data.h"

namespace nibble {

/// Reads the `tokenizer.*` keys of a GGUF file the way llama.cpp does. Throws Error{bad_input} naming the key
/// for missing or contradicting entries, Error{unsupported} for kinds of vocabularies nibble lacks.
TokenizerData read_gguf_vocab(const Meta& meta);

}  // namespace nibble
