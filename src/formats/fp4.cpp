#include "formats/fp4.h"

#include "formats/scale_search.h"

namespace nibble {
namespace {

struct Fp4Grid {
  static lanes::F4 nearest(lanes::F4 u) noexcept {
    using namespace lanes;
    const F4 negative = F4{} - u;
    const F4 a = u < F4{} ? negative : u;
    F4 v{};
    for (size_t k = 1; k < 8; ++k) {
      const F4 middle = splat(0.5f * static_cast<float>(fp4_doubled[k - 1] + fp4_doubled[k]));
      v += a > middle ? splat(static_cast<float>(fp4_doubled[k] - fp4_doubled[k - 1])) : F4{};
    }
    const F4 minus = F4{} - v;
    return u < F4{} ? minus : v;
  }
};

}  // namespace

MXFP4::Params MXFP4::fit(const float* x, const float* importance) {
  const fitting::Scaled<32> s(x, importance);
  Params best{half_scale(0), 0, 0};
  if (s.reach == 0) return best;
  float least = INFINITY;
  // The largest magnitude lies in [1, 2), the grid ends at 12: these shifts cover twofold clipping and more.
  for (int shift = -1; shift >= -6; --shift) {
    // 12 times the scale must be finite, and so must its reciprocal.
    const int e = std::clamp(std::ilogb(s.unit) + shift + 128, 2, 252);
    const float d = half_scale(static_cast<uint8_t>(e));
    const float error = fitting::try_scale<32>(Fp4Grid{}, s.x, s.w, d * s.inverse_unit).error;
    if (error < least) {
      least = error;
      best = {d, 1.0f / d, static_cast<uint8_t>(e)};
    }
  }
  return best;
}

NVFP4::Params NVFP4::fit(const float* x, const float* importance) {
  Params p{};
  for (int j = 0; j < 4; ++j) {
    const fitting::Scaled<16> s(x + 16 * j, importance == nullptr ? nullptr : importance + 16 * j);
    if (s.reach == 0) continue;
    float least = INFINITY;
    // Scales that put the largest magnitude between 1 and 24 on a grid that ends at 12: among subnormal codes
    // a coarse grid may fit by luck.
    const float low = s.reach / 24 * s.unit, high = s.reach * s.unit;
    for (int code = 0x7e; code >= 0; --code) {
      const float d = half_scale(static_cast<uint8_t>(code));
      if (d > high && code > 1) continue;
      const float error = fitting::try_scale<16>(Fp4Grid{}, s.x, s.w, d * s.inverse_unit).error;
      if (error < least) {
        least = error;
        p.d[j] = d;
        p.inverse[j] = fitting::reciprocal(d);
        p.scales[j] = static_cast<uint8_t>(code);
      }
      if (d < low) break;
    }
  }
  return p;
}

}  // namespace nibble
