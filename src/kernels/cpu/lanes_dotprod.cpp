// Weights in lanes for AArch64 with dot products of bytes.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <type_traits>

#define NIBBLE_INLINE inline __attribute__((always_inline))
#include "kernels/cpu/lanes128.inc"

namespace nibble {
namespace {

template <class K>
using Several = WholeLanes<K>;

int64_t peak_bytes(int64_t rounds) noexcept {
  return peak_of<16, int32x4_t>(
      rounds,
      [](auto sum, int8x16_t a, int8x16_t b) __attribute__((always_inline)) { return vdotq_s32(sum, a, b); });
}

}  // namespace

const PeakKernel dotprod_peak{&peak_bytes, "dot products of bytes"};

}  // namespace nibble

#define LANE_TABLE lanes_dotprod
#define LANE_COUNT lanes_dotprod_count
#define LANE_NAME "dotprod"
#include "kernels/cpu/lane_rows128.inc"

#endif
