// Weights in lanes for every AArch64.
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
  return peak_of<8, int16x8_t>(
      rounds, [](auto sum, int8x16_t a, int8x16_t b)
                  __attribute__((always_inline)) { return vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b)); });
}

}  // namespace

const PeakKernel neon_peak{&peak_bytes, "byte products and 16-bit sums"};

}  // namespace nibble

#define LANE_TABLE lanes_neon
#define LANE_COUNT lanes_neon_count
#define LANE_NAME "neon"
#include "kernels/cpu/lane_rows128.inc"

#endif
