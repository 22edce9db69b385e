#pragma once

#include <cstddef>

namespace nibble {

/// None of n numbers is NaN or an infinity.
bool all_finite(const float* x, size_t n) noexcept;

}  // namespace nibble
