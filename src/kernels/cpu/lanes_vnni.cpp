// Weights in lanes for AVX-512 with VNNI.
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

// g++ 12 takes the undefined registers that its own intrinsics start with for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels/cpu/codes512.inc"
#include "kernels/cpu/lanes512.inc"

namespace nibble {
namespace {

template <class L>
constexpr LaneRow row(const char* name, const char* format, int64_t multiple) {
  return {name, format, multiple, L::bias, lane_rows * L::unit_bytes, &arrange<L>, &lane_product<L>};
}

}  // namespace

extern const LaneRow lanes_vnni[] = {
    row<LaneQ4_0>("q4_0-lanes", "q4_0", 32),
    row<LaneQ4_1>("q4_1-lanes", "q4_1", 32),
    row<LaneQ5_0>("q5_0-lanes", "q5_0", 32),
    row<LaneQ5_1>("q5_1-lanes", "q5_1", 32),
    row<LaneQ8_0>("q8_0-lanes", "q8_0", 32),
    row<LaneQ2_K>("q2_k-lanes", "q2_k", 256),
    row<LaneQ3_K>("q3_k-lanes", "q3_k", 256),
    row<LaneQ4_K>("q4_k-lanes", "q4_k", 256),
    row<LaneQ5_K>("q5_k-lanes", "q5_k", 256),
    row<LaneQ6_K>("q6_k-lanes", "q6_k", 256),
    row<LaneIQ4_NL>("iq4_nl-lanes", "iq4_nl", 32),
    row<LaneIQ4_XS>("iq4_xs-lanes", "iq4_xs", 256),
    row<LaneInt4G128>("int4:g128-lanes", "int4:g128", 128),
    row<LaneNf4B64>("nf4:b64-lanes", "nf4:b64", 64),
};
extern const int lanes_vnni_count = sizeof lanes_vnni / sizeof lanes_vnni[0];

}  // namespace nibble

#endif
