#pragma once

#include "formats/format.h"

namespace nibble::test {

/// The families of the product's list, then those of tests/formats/toy/list.inc: a list of the same form, for
/// formats that only tests know.
std::span<const FormatFamily> families_under_test();
/// The format a word means in these families; lives as long as the program. Throws std::out_of_range.
const Format& format_under_test(const std::string& word);
/// Its word as the name of a generated test: int4_g128.
std::string case_name(const Format& format);

}  // namespace nibble::test
