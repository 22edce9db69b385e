#pragma once

#include <string>
#include <vector>

#include "model/export.h"
#include "tokenizers/data.h"

// The parts of plan_export, one file each.

namespace nibble {

/// All keys of a GGUF file made from a Hugging Face folder (export_gguf.cpp).
std::vector<GgufKv> gguf_metadata(const Checkpoint& source, int file_type, bool quantized);
/// The keys of a GGUF source, brought up to date.
std::vector<GgufKv> kept_metadata(const Checkpoint& source, int file_type, bool quantized);
/// The tokenizer.* keys for a vocabulary of `rows` entries (export_vocab.cpp). Throws Error{unsupported} for
/// schemes GGUF has no name for.
std::vector<GgufKv> gguf_vocabulary(const TokenizerData& data, const Arch& arch, int64_t rows,
                                    const Meta& config);

/// config.json, tokenizer and the rest of a folder (export_hf.cpp).
std::vector<ExportFile> hf_files(const Checkpoint& source, const std::string& float_name);
/// Tokenizer files made from a GGUF vocabulary (export_tokenizer.cpp).
std::vector<ExportFile> tokenizer_files(const TokenizerData& data);
/// A sentencepiece model (its protobuf) with these pieces, scores and types.
std::string sentencepiece_model(const TokenizerData& data);

}  // namespace nibble
