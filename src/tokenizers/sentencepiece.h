#pragma once

#include <string>
#include <string_view>

#include "tokenizers/data.h"

namespace nibble {

/// Reads a sentencepiece `tokenizer.model` (a serialized ModelProto). `name` is used in error messages.
/// Throws Error{bad_input} for damage, Error{unsupported} for model kinds nibble does not know.
TokenizerData read_sentencepiece(std::string_view bytes, const std::string& name);

}  // namespace nibble
