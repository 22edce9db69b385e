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
#define LANE_FORMAT(Name, word, ...) row<Lane##Name>(word "-lanes256", word),
#include "kernels/lane_formats.inc"
};
extern const int lanes_avx2_count = sizeof lanes_avx2 / sizeof lanes_avx2[0];

}  // namespace nibble

#endif
