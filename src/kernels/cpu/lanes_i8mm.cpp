// Weights in lanes for AArch64 with matrix products of bytes.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#define BYTE_DOTS
#include "kernels/cpu/lane_pairs128.inc"

namespace nibble {
namespace {

int64_t peak_bytes(int64_t rounds) noexcept {
  return peak_of<32, int32x4_t>(
      rounds, [](auto sum, int8x16_t a, int8x16_t b)
                  __attribute__((always_inline)) { return vmmlaq_s32(sum, a, b); });
}

}  // namespace

const PeakKernel i8mm_peak{&peak_bytes, "matrix products of bytes"};

}  // namespace nibble

#define LANE_LEVEL i8mm
#define LANES_OF_SEVERAL PairLanes
#include "kernels/cpu/lane_rows128.inc"

#endif
