#pragma once

#include <span>

#include "formats/lanes_of_blocks.h"

namespace nibble::fitting {

/// The weights by which q2_k and q3_k measure their errors where they are given no importance: w = min(|x|, 3
/// a) + 5/8 a, a being the mean |x| of the super-block. The least plain squared error shrinks what it
/// approximates (then x̂·x̂ = x̂·x), at two bits by 7 %, and so every product with it; with these weights x̂
/// keeps the length of x, at the cost of 2 to 4 % more root mean square error.
template <class L>
typename L::F plain_weight(typename L::F x, float mean) noexcept {
  return least<L>(absolute<L>(x), L::splat(3 * mean)) + L::splat(0.625f * mean);
}

/// The same for affine integers, whose groups are longer: w = min(|x|, 5 a) + 3/2 a for a group, of which
/// every number stands `counts` times (null: once).
void plain_weights(std::span<const float> x, const float* counts, std::span<float> w) noexcept;

}  // namespace nibble::fitting
