#pragma once

#include <string>
#include <string_view>

#include "base/meta.h"

namespace nibble {

/// A JSON object as Meta: nested objects by dotted keys, lists of one kind of scalar as lists, null left out.
/// Lists that hold objects, lists or a mixture are left out as well. Throws Error{bad_input} with file and
/// offset for malformed JSON.
Meta meta_from_json(std::string_view text, const std::string& file);

/// Reads a whole small file. Throws Error{io} if it cannot be read, Error{bad_input} beyond `limit` bytes.
std::string read_text_file(const std::string& path, size_t limit = size_t{256} << 20);

}  // namespace nibble
