#pragma once

#include <string>
#include <string_view>

#include "tokenizers/data.h"

namespace nibble {

/// Reads a Hugging Face `tokenizer.json`. `name` is used in error messages. Throws Error{bad_input} for
/// damage and contradictions, Error{unsupported} for steps nibble does not know.
TokenizerData read_hf_tokenizer(std::string_view json, const std::string& name);

/// Adds what `tokenizer_config.json` (or `special_tokens_map.json`) says: special tokens, add_bos_token, chat
/// template, and tokens that a tokenizer.model does not hold.
void read_hf_config(std::string_view json, const std::string& name, TokenizerData& data);

/// GPT-2's pair of files: `vocab.json` (piece → id) and `merges.txt`.
TokenizerData read_vocab_and_merges(std::string_view vocab, std::string_view merges, const std::string& name);

/// BERT's `vocab.txt`: one piece on each line.
TokenizerData read_vocab_txt(std::string_view text, const std::string& name);

/// Name under which llama.cpp knows the pre-tokenizer of `data`; empty if it has none.
std::string gguf_name_of_pre_tokenizer(const TokenizerData& data);

}  // namespace nibble
