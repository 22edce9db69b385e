// Weights in lanes for every AArch64.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#include "kernels/cpu/lanes128.inc"

namespace nibble {
namespace {

int64_t peak_bytes(int64_t rounds) noexcept {
  return peak_of<8, int16x8_t>(
      rounds, [](auto sum, int8x16_t a, int8x16_t b)
                  __attribute__((always_inline)) { return vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b)); });
}

}  // namespace

const PeakKernel neon_peak{&peak_bytes, "byte products and 16-bit sums"};

}  // namespace nibble

#define LANE_LEVEL neon
#define LANES_OF_SEVERAL WholeLanes
#include "kernels/cpu/lane_rows128.inc"

#endif
