#pragma once

#include <string>

#include "model/export.h"

namespace nibble::cli {

/// What an output path means: GGUF if it ends in .gguf, else a Hugging Face folder. Throws Error{usage} for a
/// path that looks like another kind of file, or a .gguf path that is a folder.
Target target_of(const std::string& path);
/// Throws Error{usage} if `out` is the source or a file of it: it is mapped and would be destroyed.
void refuse_own_source(const Checkpoint& source, const std::string& out);
/// Throws Error{unsupported} naming the source's tensors that its architecture does not know, unless
/// `allowed`.
void refuse_unknown(const Checkpoint& source, bool allowed);
/// Writes a small text file. Throws Error{io}.
void write_text(const std::string& path, const std::string& text);

}  // namespace nibble::cli
