#pragma once

#include <string>

namespace nibble::cli {

/// The text a verb was given: literally, or in a file (`-` for standard input). Throws Error{usage} if
/// neither is, Error{io}.
std::string text_from(const std::string& text, const std::string& file);
/// A whole file, `-` for standard input. Throws Error{io}.
std::string read_text(const std::string& file);

}  // namespace nibble::cli
