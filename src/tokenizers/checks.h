#pragma once

#include <string>
#include <string_view>

#include "tokenizers/data.h"

namespace nibble {

/// `text` for an error message: short, with control characters and invalid UTF-8 made visible.
std::string printable(std::string_view text);

/// Throws Error{bad_input} if lists of `data` differ in length, ids are out of range or it has no tokens, and
/// sets `prefix` and `suffix` from add_bos/add_eos where they are empty.
void check_and_complete(TokenizerData& data);

}  // namespace nibble
