#pragma once

#include "base/meta.h"
#include "tokenizers/data.h"

namespace nibble {

/// Reads the `tokenizer.*` keys of a GGUF file the way llama.cpp does. Throws Error{bad_input} naming the key
/// for missing or contradicting entries, Error{unsupported} for kinds of vocabularies nibble lacks.
TokenizerData read_gguf_vocab(const Meta& meta);

/// The inverse: sets the `tokenizer.*` keys that describe `data`. Element types to write: scores f32,
/// token_type i32, precompiled_charsmap u8, ids u32. Throws Error{unsupported} where GGUF has no way to say
/// it: models or pre-tokenizers that llama.cpp does not know.
void write_gguf_vocab(const TokenizerData& data, Meta& meta);

}  // namespace nibble
