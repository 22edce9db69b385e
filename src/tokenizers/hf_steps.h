#pragma once

#include "tokenizers/json_field.h"

namespace nibble {

// The pipeline parts of tokenizer.json. Each appends to the list in `data`.
void read_normalizer_step(const JsonField& field, TokenizerData& data);
void read_pre_tokenizer_step(const JsonField& field, TokenizerData& data);
void read_decoder_step(const JsonField& field, TokenizerData& data);
/// Sets prefix and suffix; the tokens must be known already.
void read_post_processor(const JsonField& field, TokenizerData& data);

}  // namespace nibble
