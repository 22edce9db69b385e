#include "formats/kquant.h"

#include <span>

#include "formats/kquant_signed.h"
#include "formats/plain_weights.h"
#include "formats/super_search.h"

namespace nibble {
namespace {

using fitting::AffineStarts;
using fitting::IntegerGrid;
using fitting::PlainWeights;
using fitting::ScaleStarts;

template <int Count>
KAffine<Count> fit_affine(float top, int limit, const AffineStarts& starts, float share, const float* x,
                          const float* importance) {
  fitting::AffineSuperSearch<256 / Count, Count> search(top, limit, starts, x, importance);
  const auto l = static_cast<float>(limit);
  const float scales[] = {l, l * 0.97f, l * 0.94f, l * 1.03f};
  const float offsets[] = {l, l * 0.96f, l * 1.04f};
  const auto found = search.run(scales, offsets, share);
  return KAffine<Count>::of(found.d, found.dmin, found.scale, found.offset);
}

template <class Params>
Params fit_signed(const IntegerGrid& grid, const ScaleStarts& starts, int low, int high,
                  std::span<const int> candidates, float share, const float* x, const float* importance) {
  fitting::ScaleSuperSearch<16, 16, IntegerGrid> search(grid, starts, low, high, x, importance);
  const auto found = search.run(candidates, share);
  return Params::of(found.d, found.scale);
}

}  // namespace

KAffine<16> Q2_K::fit(const float* x, const float* importance) {
  const PlainWeights<256> w(x, importance);
  return fit_affine<16>(3, 15, {-0.1f, 0.3f, 0.1f}, 0.12f, x, w.data());
}

KAffine<8> Q4_K::fit(const float* x, const float* importance) {
  return fit_affine<8>(15, 63, {-0.12f, 0.09f, 0.03f}, 0.06f, x, importance);
}

KAffine<8> Q5_K::fit(const float* x, const float* importance) {
  return fit_affine<8>(31, 63, {-0.06f, 0.04f, 0.02f}, 0.06f, x, importance);
}

KScale Q3_K::fit(const float* x, const float* importance) {
  static constexpr int candidates[] = {-32, 31, -31, 30, -30, 29, -29, 28, -28};
  const PlainWeights<256> w(x, importance);
  return fit_signed<KScale>({-4, 3}, {2.0f, 5.0f, 0.25f, true}, -32, 31, candidates, 0.05f, x, w.data());
}

KScale Q6_K::fit(const float* x, const float* importance) {
  static constexpr int candidates[] = {-128, 127, -124, 124};
  return fit_signed<KScale>({-32, 31}, {27.0f, 35.0f, 0.5f, true}, -128, 127, candidates, 0.1f, x,
                            importance);
}

// One f32 scale, so the neighbours of the best real one need no look.
Q8_K::Params Q8_K::fit(const float* x, const float* importance) {
  const fitting::Scaled<256> s(x, importance);
  if (s.reach == 0) return {0, 0};
  const float d =
      fitting::search_scale<256>(IntegerGrid{-127, 127}, {122.0f, 128.0f, 0.125f, false}, s.x, s.w).d *
      s.unit;
  return {d, fitting::reciprocal(d)};
}

}  // namespace nibble
