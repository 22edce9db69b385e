#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "containers/tensor_file.h"

namespace nibble {

/// No tensor has more elements than this (2^50); below it no product of a size and a type's bytes overflows.
constexpr int64_t most_elements = int64_t{1} << 50;

/// Throws Error{bad_input} "FILE: offset N: ..." if `word`, a name or type a file gives, is empty or holds
/// control characters: it will be printed.
void check_word(std::string_view word, std::string_view what, std::string_view file, uint64_t offset);

/// Product of the sizes if no size and no product is negative or above most_elements; else Error{bad_input}.
int64_t checked_elements(const Shape& shape, std::string_view tensor, std::string_view file, uint64_t offset);

/// The view of plain elements as weights: planes for float types that are formats of nibble, none for others.
QTensor plain_view(DType dtype, const Shape& shape, const Plane& raw);

/// Adds `more` to `all`. Throws Error{bad_input} if a name occurs in both.
void append_listing(TensorListing& all, TensorListing more);

}  // namespace nibble
