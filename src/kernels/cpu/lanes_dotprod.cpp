// Weights in lanes for AArch64 with dot products of bytes.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#define BYTE_DOTS
#include "kernels/cpu/lanes128.inc"

namespace nibble {
namespace {

int64_t peak_bytes(int64_t rounds) noexcept {
  return peak_of<16, int32x4_t>(
      rounds,
      [](auto sum, int8x16_t a, int8x16_t b) __attribute__((always_inline)) { return vdotq_s32(sum, a, b); });
}

}  // namespace

const PeakKernel dotprod_peak{&peak_bytes, "dot products of bytes"};

}  // namespace nibble

#define LANE_LEVEL dotprod
#define LANES_OF_SEVERAL WholeLanes
#include "kernels/cpu/lane_rows128.inc"

#endif
