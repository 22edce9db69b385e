#pragma once

#include <string>

#include "allocate/search.h"

namespace nibble {

/// The curve of size against divergence as a self-contained SVG picture: what the search predicts for every
/// size (corrected by what was measured), the uniform files and the choice as they were measured.
std::string curve_svg(const SearchResult& result);
/// The same as a table for people.
std::string curve_text(const SearchResult& result);

}  // namespace nibble
