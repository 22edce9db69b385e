#include "formats/ggml_legacy.h"

#include "formats/affine_search.h"

namespace nibble {

using fitting::fit_f16_affine;

LegacyScale Q4_0::fit(const float* x, const float* importance) {
  return fitting::fit_alone<Q4_0>(x, importance);
}

LegacyAffine Q4_1::fit(const float* x, const float* importance) {
  const auto [d, m] = fit_f16_affine<32>(15, {-0.12f, 0.09f, 0.03f}, x, importance);
  return LegacyAffine::of(d, m);
}

LegacyScale Q5_0::fit(const float* x, const float* importance) {
  return fitting::fit_alone<Q5_0>(x, importance);
}

LegacyAffine Q5_1::fit(const float* x, const float* importance) {
  const auto [d, m] = fit_f16_affine<32>(31, {-0.06f, 0.04f, 0.02f}, x, importance);
  return LegacyAffine::of(d, m);
}

// At 8 bits the f16 steps of the scale are as coarse as the distances between local minima: try each.
LegacyScale Q8_0::fit(const float* x, const float* importance) {
  return fitting::fit_alone<Q8_0>(x, importance);
}

}  // namespace nibble
