// Weights in lanes for AVX-512 with VNNI.
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

// g++ 12 takes the undefined registers that its own intrinsics start with for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels/cpu/codes512.inc"
#include "kernels/cpu/float_lanes512.inc"
#include "kernels/cpu/lane_tiles512.inc"
#include "kernels/cpu/lanes512.inc"

namespace nibble {
namespace {

template <class L>
constexpr LaneRow row(const char* name, const char* format) {
  if constexpr (requires { L::bias; }) {
    return {name,  format,        L::bias, sizeof(RoundedUnit), &round_rows_vnni, &lane_product<L>,
            false, &lane_lines<L>};
  } else {
    return {
        name, format, 0, sizeof(FloatUnit), &copy_floats, &float_lane_product<L>, true, &float_lane_lines<L>};
  }
}

}  // namespace

extern const LaneRow lanes_vnni[] = {
#define LANE_FORMAT(Name, word, ...) row<Lane##Name>(word "-lanes", word),
#include "kernels/lane_formats.inc"
};
extern const int lanes_vnni_count = sizeof lanes_vnni / sizeof lanes_vnni[0];

}  // namespace nibble

#endif
