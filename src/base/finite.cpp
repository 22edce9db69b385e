#include "base/finite.h"

#include <bit>
#include <cstdint>

namespace nibble {

bool all_finite(const float* x, size_t n) noexcept {
  // On whole numbers, many of which can be compared at a time; an exponent of ones is an infinity or NaN.
  int32_t bad = 0;
  for (size_t i = 0; i < n; ++i) {
    const int32_t magnitude = std::bit_cast<int32_t>(x[i]) & 0x7fffffff;
    bad |= magnitude >= 0x7f800000 ? 1 : 0;
  }
  return bad == 0;
}

}  // namespace nibble
