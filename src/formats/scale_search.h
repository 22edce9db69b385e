#pragma once

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/lanes.h"

// The search for block scales that all scaled formats share: weights x of a block stand for d * g with g on a
// fixed grid, and d minimizes the weighted squared error. Given the grid points, the best d is a quotient of
// two sums; given d, the best points are the nearest ones. The error has many local minima in d, so many
// starts are tried and the best is polished by alternating the two steps.

namespace nibble::fitting {

/// A block brought to magnitudes around 1 by a power of two, so that no input under- or overflows in the
/// sums. Everything computed from it is exactly proportional to what the block itself would give.
template <int N>
struct Scaled {
  alignas(16) float x[N];
  alignas(16) float w[N];  ///< importance, at most 1; never quite 0, so that dead weights stay what they were
  float unit = 1;          ///< block = x * unit
  float inverse_unit = 1;
  float reach = 0;  ///< largest |x|; 0 if the block counts as all zero

  Scaled(const float* block, const float* importance) noexcept {
    float most = 0, heaviest = 0;
    for (int i = 0; i < N; ++i) most = std::max(most, std::fabs(block[i]));
    for (int i = 0; importance != nullptr && i < N; ++i) heaviest = std::max(heaviest, importance[i]);
    // Below the smallest scale any format can store (and where the reciprocal of the unit would overflow).
    if (most > 0x1p-125f) {
      const int exponent = std::ilogb(most);
      unit = std::ldexp(1.0f, exponent);
      inverse_unit = std::ldexp(1.0f, -exponent);
      reach = most * inverse_unit;
    }
    const bool weighted = heaviest > 0x1p-100f && heaviest <= 0x1p126f;
    const float inverse_weight = weighted ? 1.0f / heaviest : 1.0f;
    for (int i = 0; i < N; ++i) {
      x[i] = reach > 0 ? block[i] * inverse_unit : 0.0f;
      w[i] = weighted ? std::max(importance[i] * inverse_weight, 0x1p-40f) : 1.0f;
    }
  }
};

/// f16 bits of a scale, saturating.
inline uint16_t store_f16(float d) noexcept { return f32_to_f16(std::clamp(d, -65504.0f, 65504.0f)); }
/// The f16 number `steps` representable places further from zero (nearer for negative steps); stops at the
/// ends.
inline uint16_t step_f16(uint16_t h, int steps) noexcept {
  const int magnitude = std::clamp((h & 0x7fff) + steps, 0, 0x7bff);
  return static_cast<uint16_t>((h & 0x8000) | magnitude);
}
inline float reciprocal(float d) noexcept { return std::fabs(d) > 0x1p-126f ? 1.0f / d : 0.0f; }

/// Consecutive integers [low, high].
struct IntegerGrid {
  float low, high;
  lanes::F4 nearest(lanes::F4 u) const noexcept {
    return lanes::round(lanes::clamp(u, lanes::splat(low), lanes::splat(high)));
  }
};

/// What one scale gives: the squared error, and its derivatives along d with the grid points held.
struct ScaleTrial {
  float error, slope, curvature;
  /// Error after the least-squares step, and that step.
  float improved() const noexcept { return curvature > 0 ? error - slope * slope / curvature : error; }
  float step() const noexcept { return curvature > 0 ? slope / curvature : 0.0f; }
};

template <int N, class Grid>
ScaleTrial try_scale(const Grid& grid, const float* x, const float* w, float d) noexcept {
  using namespace lanes;
  const F4 scale = splat(d), inverse = splat(reciprocal(d));
  F4 e{}, g{}, c{};
  for (int i = 0; i < N; i += 4) {
    const F4 v = load(x + i), weight = load(w + i);
    const F4 q = grid.nearest(v * inverse);
    const F4 r = v - q * scale;
    const F4 wr = weight * r, wq = weight * q;
    e += wr * r;
    g += wr * q;
    c += wq * q;
  }
  return {sum(e), sum(g), sum(c)};
}

struct ScaleFit {
  float d = 0;
  float error = 0;
};

/// Where a search looks: d = ±reach / t for t in [from, to] in steps. One side suffices for symmetric grids.
struct ScaleStarts {
  float from, to, step;
  bool both_signs;
};

/// Best scale of N weights among the starts, then polished.
template <int N, class Grid>
ScaleFit search_scale(const Grid& grid, const ScaleStarts& starts, const float* x, const float* w) noexcept {
  float reach = 0;
  ScaleFit best;
  for (int i = 0; i < N; ++i) {
    reach = std::max(reach, std::fabs(x[i]));
    best.error += w[i] * x[i] * x[i];
  }
  if (reach < 0x1p-60f) return best;
  for (int side = 0; side < (starts.both_signs ? 2 : 1); ++side) {
    for (float t = starts.from; t <= starts.to; t += starts.step) {
      const float d = (side == 0 ? reach : -reach) / t;
      const ScaleTrial trial = try_scale<N>(grid, x, w, d);
      if (const float e = trial.improved(); e < best.error) best = {d + trial.step(), e};
    }
  }
  for (int k = 0; k < 4; ++k) {
    const ScaleTrial trial = try_scale<N>(grid, x, w, best.d);
    const float e = trial.improved();
    if (!(e < best.error)) break;
    best = {best.d + trial.step(), e};
  }
  return best;
}

/// The f16 scale of a block of N weights, chosen by exact error among the neighbours of the best real scale
/// and the two that map the extreme weight to the grid's ends: where weights take few values, these may be
/// exact.
template <int N, class Grid>
uint16_t fit_f16_scale(const Grid& grid, const ScaleStarts& starts, int neighbours, const float* block,
                       const float* importance) noexcept {
  const Scaled<N> s(block, importance);
  if (s.reach == 0) return 0;
  uint16_t best = 0;
  float least = INFINITY;
  const auto consider = [&](uint16_t h) {
    const float e = try_scale<N>(grid, s.x, s.w, f16_to_f32(h) * s.inverse_unit).error;
    if (e < least) {
      least = e;
      best = h;
    }
  };
  const float extreme =
      *std::max_element(s.x, s.x + N, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  consider(store_f16(extreme / grid.low * s.unit));
  consider(store_f16(extreme / grid.high * s.unit));
  const uint16_t centre = store_f16(search_scale<N>(grid, starts, s.x, s.w).d * s.unit);
  for (int k = -neighbours; k <= neighbours; ++k) consider(step_f16(centre, k));
  return best;
}

}  // namespace nibble::fitting
