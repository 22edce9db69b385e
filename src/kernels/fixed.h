#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/cpu/integer.h"

namespace nibble {

/// A number as mantissa * 2^exponent (dyadic). The mantissa has 30 bits, or is 0.
struct Dyadic {
  int32_t mantissa = 0;
  int exponent = 0;
};

/// Numbers with one exponent.
struct FixedVector {
  std::vector<int32_t> mantissas;
  int exponent = 0;
};

// From floats: what is done to a model's weights once, when it is loaded.

/// The nearest one. `what` names the number in Error{bad_input}, thrown where it is not finite.
Dyadic to_dyadic(double x, std::string_view what);
/// The nearest ones, the largest magnitude between 2^(bits - 1) and 2^bits. Throws like to_dyadic.
FixedVector to_fixed(std::span<const double> x, int bits, std::string_view what);
/// The nearest ones of a given exponent. Mantissas that this makes larger than 2^30 are an Error{internal}.
std::vector<int32_t> to_fixed_with(std::span<const double> x, int exponent, std::string_view what);

// In whole numbers: what happens while a model runs.

/// x * 2^-n, rounded, for n in [0, 62].
inline int64_t shift_right(int64_t x, int n) noexcept {
  if (n <= 0) return x;
  return ((x >> (n - 1)) + 1) >> 1;
}

/// How far a row of this largest magnitude can be shifted to the left for mantissas of `bits` bits; negative:
/// to the right.
inline int room_above(uint32_t most, int bits = mantissa_bits) noexcept {
  if (most == 0) return 0;
  return bits - (32 - __builtin_clz(most));
}

/// A positive number with the 62nd bit set: mantissa in [2^61, 2^62), or 0.
struct Wide {
  uint64_t mantissa = 0;
  int exponent = 0;
};
Wide widen(uint64_t x, int exponent) noexcept;
Wide add(Wide a, Wide b) noexcept;
/// x / n for n > 0
Wide divide(Wide x, uint64_t n) noexcept;

/// 1 / sqrt(x) for x > 0, wrong by at most 2^-28 of itself: the integer square root by Newton's method, as
/// in I-BERT, and one division.
Dyadic inverse_square_root(Wide x) noexcept;

/// Cosine and sine of a fraction of a turn (2^64 is a whole one), times 2^30; wrong by at most 3 * 2^-30.
struct Direction {
  int32_t cosine = 0, sine = 0;
};
Direction direction(uint64_t turn) noexcept;

}  // namespace nibble
