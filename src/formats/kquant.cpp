#include "formats/kquant.h"

#include "formats/kquant_signed.h"
#include "formats/scale_search.h"

namespace nibble {

using fitting::FourLanes;

KAffine<16> Q2_K::fit(const float* x, const float* importance) { return fit_with<FourLanes>(x, importance); }

KAffine<8> Q4_K::fit(const float* x, const float* importance) { return fit_with<FourLanes>(x, importance); }

KAffine<8> Q5_K::fit(const float* x, const float* importance) { return fit_with<FourLanes>(x, importance); }

KScale Q3_K::fit(const float* x, const float* importance) { return fit_with<FourLanes>(x, importance); }

KScale Q6_K::fit(const float* x, const float* importance) { return fit_with<FourLanes>(x, importance); }

// One f32 scale, so the neighbours of the best real one need no look.
Q8_K::Params Q8_K::fit(const float* x, const float* importance) {
  const fitting::Scaled<256> s(x, importance);
  if (s.reach == 0) return {0, 0};
  const float d =
      fitting::search_scale<256>(fitting::IntegerGrid{-127, 127}, {122.0f, 128.0f, 0.125f, false}, s.x, s.w)
          .d *
      s.unit;
  return {d, fitting::reciprocal(d)};
}

}  // namespace nibble
