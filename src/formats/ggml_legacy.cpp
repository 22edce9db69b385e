#include "formats/ggml_legacy.h"

#include "formats/affine_search.h"
#include "formats/scale_search.h"

namespace nibble {

using fitting::fit_f16_affine;
using fitting::fit_f16_scale;
using fitting::IntegerGrid;

LegacyScale Q4_0::fit(const float* x, const float* importance) {
  return LegacyScale::of(fit_f16_scale<32>(IntegerGrid{-8, 7}, {5.5f, 9.0f, 0.125f, true}, 2, x, importance));
}

LegacyAffine Q4_1::fit(const float* x, const float* importance) {
  const auto [d, m] = fit_f16_affine<32>(15, {-0.12f, 0.09f, 0.03f}, x, importance);
  return LegacyAffine::of(d, m);
}

LegacyScale Q5_0::fit(const float* x, const float* importance) {
  return LegacyScale::of(
      fit_f16_scale<32>(IntegerGrid{-16, 15}, {12.0f, 17.0f, 0.125f, true}, 2, x, importance));
}

LegacyAffine Q5_1::fit(const float* x, const float* importance) {
  const auto [d, m] = fit_f16_affine<32>(31, {-0.06f, 0.04f, 0.02f}, x, importance);
  return LegacyAffine::of(d, m);
}

// At 8 bits the f16 steps of the scale are as coarse as the distances between local minima: try each.
LegacyScale Q8_0::fit(const float* x, const float* importance) {
  return LegacyScale::of(
      fit_f16_scale<32>(IntegerGrid{-127, 127}, {119.0f, 128.0f, 0.125f, false}, 4, x, importance));
}

}  // namespace nibble
