#pragma once

#include <string>
#include <string_view>

#include "base/meta.h"

namespace nibble {

/// Flattens a JSON object such as config.json: `{"rope_scaling": {"factor": 8}}` gives `rope_scaling.factor`.
/// Arrays of one kind of scalar become one value (numbers of both kinds: doubles; an empty array: no
/// integers); other arrays are flattened by index, `layers.0`. null gives no key. Throws Error{bad_input}
/// with `file` and byte offset for malformed JSON, nesting over 64, a key given twice (also by flattening),
/// flattened keys over 1024 bytes and documents over 64 MB.
Meta parse_json_meta(std::string_view text, const std::string& file);

/// The same of a file. Throws Error{io} if it cannot be opened.
Meta read_json_meta(const std::string& path);

}  // namespace nibble
