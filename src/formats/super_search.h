#pragma once

#include <cstdint>
#include <span>

#include "formats/affine_search.h"

// Super-blocks: Count blocks of N weights whose scales are small integers times one f16 number. First every
// block finds its own real scale; then the f16 number is chosen among candidates, for each of which every
// block takes the integer with the least exact error; last, with all integers held, the f16 number is a
// least-squares problem again.

namespace nibble::fitting {

/// Integer scales of one super-block and the f16 number they multiply.
template <int Count>
struct SuperScale {
  uint16_t d = 0;
  int8_t scale[Count] = {};
};

/// Integer scales and offsets: block j stands for (d scale[j]) q - (dmin offset[j]).
template <int Count>
struct SuperAffine {
  uint16_t d = 0, dmin = 0;
  uint8_t scale[Count] = {}, offset[Count] = {};
};

/// The integers within `share` of `ideal` and the two next to it, cut to [low, high].
struct IntegerRange {
  int first, last;
  static IntegerRange around(float ideal, float share, int low, int high) noexcept {
    const auto l = static_cast<float>(low), h = static_cast<float>(high);
    const float a = std::clamp(ideal * (1 - share), l, h), b = std::clamp(ideal * (1 + share), l, h);
    return {static_cast<int>(std::floor(std::min(a, b))), static_cast<int>(std::ceil(std::max(a, b)))};
  }
};

template <int N, int Count, class Grid>
class ScaleSuperSearch {
 public:
  ScaleSuperSearch(const Grid& grid, const ScaleStarts& starts, int low, int high, const float* block,
                   const float* importance) noexcept
      : grid_(grid), low_(low), high_(high), s_(block, importance) {
    for (int j = 0; s_.reach > 0 && j < Count; ++j) {
      ideal_[j] = search_scale<N>(grid, starts, s_.x + j * N, s_.w + j * N).d;
    }
  }

  /// `candidates`: the integers that the largest scale may become.
  SuperScale<Count> run(std::span<const int> candidates, float share) noexcept {
    float largest = 0;
    for (const float d : ideal_) largest = std::fabs(d) > std::fabs(largest) ? d : largest;
    if (largest == 0) return {};
    Choice best;
    for (const int k : candidates)
      consider(store_f16(largest * s_.unit / static_cast<float>(k)), share, best);
    // Among subnormal numbers one step is far, and the first may be needed where the quotient rounds to zero.
    consider(step_f16(best.found.d, 1), share, best);
    for (int round = 0; round < 3; ++round) {
      float slope = 0, curvature = 0;
      const float d = real(best.found.d);
      for (int j = 0; j < Count; ++j) {
        const float scale = best.found.scale[j];
        const ScaleTrial t = try_scale<N>(grid_, s_.x + j * N, s_.w + j * N, d * scale);
        slope += scale * t.slope;
        curvature += scale * scale * t.curvature;
      }
      if (!(curvature > 0)) break;
      const float before = best.error;
      consider(store_f16((d + slope / curvature) * s_.unit), share / 2, best);
      if (!(best.error < before)) break;
    }
    return best.found;
  }

 private:
  struct Choice {
    SuperScale<Count> found;
    float error = INFINITY;
  };

  float real(uint16_t h) const noexcept { return f16_to_f32(h) * s_.inverse_unit; }

  void consider(uint16_t h, float share, Choice& best) const noexcept {
    Choice c{{h, {}}, 0};
    const float d = real(h);
    if (d == 0) return;
    const float inverse = 1 / d;
    for (int j = 0; j < Count; ++j) {
      const auto range = IntegerRange::around(ideal_[j] * inverse, share, low_, high_);
      float least = INFINITY;
      for (int k = range.first; k <= range.last; ++k) {
        const float e = try_scale<N>(grid_, s_.x + j * N, s_.w + j * N, d * static_cast<float>(k)).error;
        if (e < least) {
          least = e;
          c.found.scale[j] = static_cast<int8_t>(k);
        }
      }
      c.error += least;
      if (c.error >= best.error) return;
    }
    best = c;
  }

  Grid grid_;
  int low_, high_;
  Scaled<N * Count> s_;
  float ideal_[Count] = {};
};

template <int N, int Count>
class AffineSuperSearch {
 public:
  /// Codes up to `top`, integer scales and offsets up to `limit`.
  AffineSuperSearch(float top, int limit, const AffineStarts& starts, const float* block,
                    const float* importance) noexcept
      : top_(top), limit_(limit), s_(block, importance) {
    if (s_.reach == 0) return;
    // Offsets have one sign for the whole super-block: dmin's. A super-block above zero takes a negative
    // dmin.
    float lowest = s_.x[0];
    for (const float v : s_.x) lowest = std::min(lowest, v);
    const float ceiling = lowest > 0 ? INFINITY : 0.0f;
    for (int j = 0; j < Count; ++j) {
      ideal_[j] = search_affine<N>(s_.x + j * N, s_.w + j * N, top_, starts, ceiling);
      ideal_[j].m = lowest > 0 ? std::max(0.0f, ideal_[j].m) : ideal_[j].m;
    }
  }

  /// `candidates`: what the largest scale and the largest offset may be divided by.
  SuperAffine<Count> run(std::span<const float> scale_candidates, std::span<const float> offset_candidates,
                         float share) noexcept {
    float largest = 0, deepest = 0;
    for (const AffineFit& f : ideal_) {
      largest = std::max(largest, f.d);
      deepest = std::fabs(f.m) > std::fabs(deepest) ? f.m : deepest;
    }
    if (largest == 0 && deepest == 0) return {};
    Choice best;
    const uint16_t dmin = store_f16(-deepest * s_.unit / offset_candidates[0]);
    for (const float k : scale_candidates) consider(store_f16(largest * s_.unit / k), dmin, share, best);
    // Among subnormal numbers one step is far, and the first may be needed where the quotient rounds to zero.
    consider(step_f16(best.found.d, 1), dmin, share, best);
    consider(best.found.d, step_f16(best.found.dmin, 1), share, best);
    const uint16_t d = best.found.d;
    for (const float k : offset_candidates.subspan(1)) {
      consider(d, store_f16(-deepest * s_.unit / k), share, best);
    }
    for (int round = 0; round < 3; ++round) {
      const float before = best.error;
      refine(share, best);
      if (!(best.error < before)) break;
    }
    return best.found;
  }

 private:
  struct Choice {
    SuperAffine<Count> found;
    float error = INFINITY;
  };

  float real(uint16_t h) const noexcept { return f16_to_f32(h) * s_.inverse_unit; }

  void consider(uint16_t hd, uint16_t hmin, float share, Choice& best) const noexcept {
    Choice c{{hd, hmin, {}, {}}, 0};
    const float d = real(hd), dmin = real(hmin);
    const float inverse = reciprocal(d), inverse_min = reciprocal(dmin);
    for (int j = 0; j < Count; ++j) {
      const AffineFit& f = ideal_[j];
      const auto range = IntegerRange::around(f.d * inverse, share, 0, limit_);
      float least = INFINITY;
      for (int k = range.first; k <= range.last; ++k) {
        const float scale = d * static_cast<float>(k);
        const float centre = (-f.m + (scale - f.d) * f.mean_code) * inverse_min;
        const float low = std::floor(std::clamp(centre, 0.0f, static_cast<float>(limit_)));
        const int from = std::max(0, static_cast<int>(low) - 0),
                  to = std::min(limit_, static_cast<int>(low) + 1);
        for (int o = from; o <= to; ++o) {
          const float e =
              affine_error<N>(s_.x + j * N, s_.w + j * N, top_, scale, -(dmin * static_cast<float>(o)));
          if (e < least) {
            least = e;
            c.found.scale[j] = static_cast<uint8_t>(k);
            c.found.offset[j] = static_cast<uint8_t>(o);
          }
        }
      }
      c.error += least;
      if (c.error >= best.error) return;
    }
    best = c;
  }

  /// Least squares in (d, dmin) with all integers and codes held, then the integers again.
  void refine(float share, Choice& best) const noexcept {
    const float d = real(best.found.d), dmin = real(best.found.dmin);
    double gd = 0, gm = 0, dd = 0, dm = 0, mm = 0;
    for (int j = 0; j < Count; ++j) {
      const double scale = best.found.scale[j], offset = best.found.offset[j];
      const AffineTrial t = try_affine<N>(s_.x + j * N, s_.w + j * N, top_, d * best.found.scale[j],
                                          -(dmin * best.found.offset[j]));
      gd += scale * t.rq;
      gm -= offset * t.r;
      dd += scale * scale * t.qq;
      dm -= scale * offset * t.q;
      mm += offset * offset * t.one;
    }
    double step_d = dd > 0 ? gd / dd : 0, step_m = 0;
    if (const double det = dd * mm - dm * dm; det > 1e-6 * dd * mm) {
      step_d = (gd * mm - gm * dm) / det;
      step_m = (gm * dd - gd * dm) / det;
    }
    consider(store_f16((d + static_cast<float>(step_d)) * s_.unit),
             store_f16((dmin + static_cast<float>(step_m)) * s_.unit), share / 2, best);
  }

  float top_;
  int limit_;
  Scaled<N * Count> s_;
  AffineFit ideal_[Count] = {};
};

}  // namespace nibble::fitting
