#include "kernels/fixed.h"

#include <algorithm>

namespace nibble {

Wide widen(uint64_t x, int exponent) noexcept {
  if (x == 0) return {};
  const int up = __builtin_clzll(x) - 2;
  if (up < 0) return {x >> -up, exponent - up};
  return {x << up, exponent - up};
}

Wide add(Wide a, Wide b) noexcept {
  if (a.mantissa == 0) return b;
  if (b.mantissa == 0) return a;
  if (a.exponent < b.exponent) std::swap(a, b);
  const int apart = a.exponent - b.exponent;
  return widen(a.mantissa + (apart > 62 ? 0 : b.mantissa >> apart), a.exponent);
}

Wide divide(Wide x, uint64_t n) noexcept { return widen(x.mantissa / n, x.exponent); }

Dyadic inverse_square_root(Wide x) noexcept {
  // An even exponent and a mantissa in [2^60, 2^62): the root then has 31 bits.
  if (x.exponent % 2 != 0) {
    x.mantissa >>= 1;
    x.exponent += 1;
  }
  uint64_t root = uint64_t{1} << 31;  // not below the root: the steps go down and stop at its whole part
  for (;;) {
    const uint64_t next = (root + x.mantissa / root) / 2;
    if (next >= root) break;
    root = next;
  }
  // root is in [2^30, 2^31], so this has 30 or 31 bits.
  const uint64_t inverse = (uint64_t{1} << 60) / root;
  const int exponent = -60 - x.exponent / 2;
  return {static_cast<int32_t>(std::min<uint64_t>(inverse, uint64_t{1} << 30)), exponent};
}

Direction direction(uint64_t turn) noexcept {
  // Eighths of a turn, counted around the nearest multiple of a quarter: angle in [-1/8, 1/8].
  const uint64_t quarter = (turn + (uint64_t{1} << 61)) >> 62;
  const auto rest = static_cast<int64_t>(turn - (quarter << 62));
  // Q31 of the angle in radians, at most pi / 4: 2 pi * 2^-64 * rest; 2 pi is 3373259426 * 2^-29.
  const int64_t x = ((rest >> 30) * 3373259426) >> 32;
  const int64_t square = (x * x) >> 30;  // Q32
  // Taylor's series in Q32; what is left out is below 2^-31.
  constexpr int64_t one = int64_t{1} << 32;
  int64_t c = one / 3628800;
  c = one / 40320 - ((c * square) >> 32);
  c = one / 720 - ((c * square) >> 32);
  c = one / 24 - ((c * square) >> 32);
  c = one / 2 - ((c * square) >> 32);
  c = one - ((c * square) >> 32);
  int64_t s = one / 362880;
  s = one / 5040 - ((s * square) >> 32);
  s = one / 120 - ((s * square) >> 32);
  s = one / 6 - ((s * square) >> 32);
  s = one - ((s * square) >> 32);
  s = (s * x) >> 32;
  const auto cosine = static_cast<int32_t>(shift_right(c, 2)), sine = static_cast<int32_t>(shift_right(s, 1));
  switch (quarter % 4) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

}  // namespace nibble
