// Weights in lanes for AArch64 with matrix products of bytes.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <type_traits>

#define NIBBLE_INLINE inline __attribute__((always_inline))
#include "kernels/cpu/lane_pairs128.inc"

namespace nibble {
namespace {

template <class K>
using Several = PairLanes<K>;

int64_t peak_bytes(int64_t rounds) noexcept {
  return peak_of<32, int32x4_t>(
      rounds, [](auto sum, int8x16_t a, int8x16_t b)
                  __attribute__((always_inline)) { return vmmlaq_s32(sum, a, b); });
}

}  // namespace

const PeakKernel i8mm_peak{&peak_bytes, "matrix products of bytes"};

}  // namespace nibble

#define LANE_TABLE lanes_i8mm
#define LANE_COUNT lanes_i8mm_count
#define LANE_NAME "i8mm"
#include "kernels/cpu/lane_rows128.inc"

#endif
