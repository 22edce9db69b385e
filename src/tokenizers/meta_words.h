#pragma once

#include <algorithm>
#include <string_view>

#include "tokenizers/utf8.h"

namespace nibble {

// No merge can cross the border between a word and the visible space that begins the next one, unless some
// token spans such a border. So each word stands for itself, and equal words need to be merged only once.

/// True if `piece` holds something other than a visible space right before a visible space.
inline bool spans_words(std::string_view piece) {
  for (size_t at = 0; (at = piece.find(utf8::meta_space, at)) != std::string_view::npos;
       at += utf8::meta_space.size())
    if (at > 0 && !piece.substr(0, at).ends_with(utf8::meta_space)) return true;
  return false;
}

/// Visible spaces at the start of `text` and what follows up to the next one.
inline std::string_view first_word(std::string_view text) {
  size_t end = 0;
  while (text.substr(end).starts_with(utf8::meta_space)) end += utf8::meta_space.size();
  return text.substr(0, std::min(text.find(utf8::meta_space, end), text.size()));
}

}  // namespace nibble
