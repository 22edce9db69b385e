#pragma once

#include <string>

#include "model/export.h"

namespace nibble::cli {

/// What an output path means: GGUF if it ends in .gguf, else a Hugging Face folder. Throws Error{usage} for a
/// path that looks like another kind of file, or a .gguf path that is a folder.
Target target_of(const std::string& path);
/// Throws Error{usage} if writing `output` would overwrite `input` or a file of it.
void require_distinct(const std::string& input, const std::string& output);
/// Writes a small text file. Throws Error{io}.
void write_text(const std::string& path, const std::string& text);

}  // namespace nibble::cli
