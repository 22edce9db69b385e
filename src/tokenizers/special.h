#pragma once

#include <cstdint>
#include <unordered_set>

#include "tokenizers/data.h"

namespace nibble {

/// Ids after which generation stops: eos, eot and tokens known by their text (`<|im_end|>`, ...).
std::unordered_set<int32_t> ending_ids(const TokenizerData& data);

/// Fills in `eot` and gives tokens that look like the end of a turn or of a text the type control, as
/// llama.cpp does: files often lack these facts.
void find_turn_end(TokenizerData& data);

}  // namespace nibble
