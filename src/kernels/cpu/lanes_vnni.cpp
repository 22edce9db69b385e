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
  return {name,  format,        L::bias, sizeof(RoundedUnit), &round_rows_vnni, &lane_product<L>,
          false, &lane_lines<L>};
}
template <class L>
constexpr LaneRow float_row(const char* name, const char* format) {
  return {
      name, format, 0, sizeof(FloatUnit), &copy_floats, &float_lane_product<L>, true, &float_lane_lines<L>};
}

}  // namespace

extern const LaneRow lanes_vnni[] = {
    row<LaneQ4_0>("q4_0-lanes", "q4_0"),
    row<LaneQ4_1>("q4_1-lanes", "q4_1"),
    row<LaneQ5_0>("q5_0-lanes", "q5_0"),
    row<LaneQ5_1>("q5_1-lanes", "q5_1"),
    row<LaneQ8_0>("q8_0-lanes", "q8_0"),
    row<LaneQ2_K>("q2_k-lanes", "q2_k"),
    row<LaneQ3_K>("q3_k-lanes", "q3_k"),
    row<LaneQ4_K>("q4_k-lanes", "q4_k"),
    row<LaneQ5_K>("q5_k-lanes", "q5_k"),
    row<LaneQ6_K>("q6_k-lanes", "q6_k"),
    row<LaneIQ4_NL>("iq4_nl-lanes", "iq4_nl"),
    row<LaneIQ4_XS>("iq4_xs-lanes", "iq4_xs"),
    row<LaneInt4G128>("int4:g128-lanes", "int4:g128"),
    row<LaneNf4B64>("nf4:b64-lanes", "nf4:b64"),
    float_row<LaneF16>("f16-lanes", "f16"),
    float_row<LaneBF16>("bf16-lanes", "bf16"),
    float_row<LaneF32>("f32-lanes", "f32"),
};
extern const int lanes_vnni_count = sizeof lanes_vnni / sizeof lanes_vnni[0];

}  // namespace nibble

#endif
