// Weights in lanes for AVX2 with FMA and F16C.
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <type_traits>

#define NIBBLE_INLINE inline __attribute__((always_inline))
#include "kernels/cpu/codes256.inc"
#include "kernels/cpu/lanes256.inc"

namespace nibble {
namespace {

template <class L>
constexpr LaneRow row(const char* name, const char* format) {
  if constexpr (L::kind == Codes::small) {
    return {name, format, L::bias, sizeof(SmallUnit), &round_small<L::span>, &lane_product<L>};
  } else if constexpr (L::kind == Codes::large) {
    return {name, format, L::bias, sizeof(LargeUnit), &round_large, &lane_product<L>};
  } else {
    return {name, format, 0, sizeof(FloatUnit), &copy_floats, &lane_product<L>, true};
  }
}

}  // namespace

extern const LaneRow lanes_avx2[] = {
    row<LaneQ4_0>("q4_0-lanes256", "q4_0"),
    row<LaneQ4_1>("q4_1-lanes256", "q4_1"),
    row<LaneQ5_0>("q5_0-lanes256", "q5_0"),
    row<LaneQ5_1>("q5_1-lanes256", "q5_1"),
    row<LaneQ8_0>("q8_0-lanes256", "q8_0"),
    row<LaneQ2_K>("q2_k-lanes256", "q2_k"),
    row<LaneQ3_K>("q3_k-lanes256", "q3_k"),
    row<LaneQ4_K>("q4_k-lanes256", "q4_k"),
    row<LaneQ5_K>("q5_k-lanes256", "q5_k"),
    row<LaneQ6_K>("q6_k-lanes256", "q6_k"),
    row<LaneIQ4_NL>("iq4_nl-lanes256", "iq4_nl"),
    row<LaneIQ4_XS>("iq4_xs-lanes256", "iq4_xs"),
    row<LaneInt4G128>("int4:g128-lanes256", "int4:g128"),
    row<LaneNf4B64>("nf4:b64-lanes256", "nf4:b64"),
    row<LaneF16>("f16-lanes256", "f16"),
    row<LaneBF16>("bf16-lanes256", "bf16"),
    row<LaneF32>("f32-lanes256", "f32"),
};
extern const int lanes_avx2_count = sizeof lanes_avx2 / sizeof lanes_avx2[0];

}  // namespace nibble

#endif
