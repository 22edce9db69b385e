#pragma once

#include <cstdint>
#include <cstring>

// Four floats at a time in the compiler's own vectors: the order of every sum is written down, so the result
// is the same on every machine and at every optimization level.

namespace nibble::lanes {

using F4 = float __attribute__((vector_size(16)));

inline F4 load(const float* p) noexcept {
  F4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline F4 splat(float x) noexcept { return F4{x, x, x, x}; }
inline F4 clamp(F4 v, F4 low, F4 high) noexcept {
  v = v < low ? low : v;
  return v > high ? high : v;
}
/// Nearest integer, ties to even; |v| < 2^22.
inline F4 round(F4 v) noexcept {
  const F4 magic = splat(0x1.8p23f);
  return (v + magic) - magic;
}
inline float sum(F4 v) noexcept { return (v[0] + v[2]) + (v[1] + v[3]); }

}  // namespace nibble::lanes
