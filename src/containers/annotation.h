#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "containers/tensor_file.h"

namespace nibble {

/// A text that the first file of a checkpoint carries in its metadata (a GGUF key, or an entry of a
/// safetensors header's `__metadata__`); nothing where there is none.
std::optional<std::string> annotation(const TensorFile& file, std::string_view key);

/// Writes that text, in place of an earlier one: the file is copied with a new header and takes the old one's
/// place when it is complete; tensor bytes and all other metadata stay as they are. Throws Error{unsupported}
/// for other kinds of files, Error{io} (the old file is untouched then).
void annotate(const TensorFile& file, const std::string& key, const std::string& text);

}  // namespace nibble
