#pragma once

#include "formats/super_block.h"

// Super-blocks without offsets: block j stands for (d scale[j]) g with g on a fixed grid, d an f16 number,
// scale[j] an integer.

namespace nibble::fitting {

template <int Count>
struct SuperScale {
  uint16_t d = 0;
  int8_t scale[Count] = {};
};

/// Consecutive integers [low, high].
struct Integers {
  float low, high;
  template <class L>
  typename L::F nearest(typename L::F u) const noexcept {
    return whole<L>(least<L>(most<L>(u, L::splat(low)), L::splat(high)));
  }
};

/// Integer scales in [low, high]. Where to look: with the extreme weight of a block at each of `starts`, and
/// with the largest scale as each of the integers given.
struct ScaleSuperPlan {
  const float* starts;
  int start_count;
  float low, high;
  const int8_t* largest;
  int largest_count;
};

/// N weights of L::width blocks; Even: all weigh 1, which need not be multiplied with.
template <class L, int N, class Grid, bool Even>
class ScaleBlocks {
  using F = typename L::F;

 public:
  void see(const F* x, const F* w, const Grid& grid) noexcept {
    x_ = x;
    w_ = w;
    grid_ = grid;
  }

  /// The best real scale; 0 for blocks of zeros.
  F search(const ScaleSuperPlan& plan) const noexcept {
    F low = x_[0], high = x_[0];
    for (int i = 1; i < N; ++i) {
      low = least<L>(low, x_[i]);
      high = most<L>(high, x_[i]);
    }
    const F extreme = -low > high ? low : high;
    const F inverse = absolute<L>(extreme) > L::splat(0x1p-60f) ? L::splat(1.0f) / extreme : F{};
    F best_d{}, best{};
    const auto offer = [&](F by) noexcept {
      F xq{}, qq{};
      for (int i = 0; i < N; ++i) {
        const F x = x_[i];
        const F q = grid_.template nearest<L>(x * by);
        const F wq = weigh(i, q);
        xq += wq * x;
        qq += wq * q;
      }
      const F d = qq > F{} ? xq / qq : F{};
      const F gain = xq * d;
      const auto better = gain > best;
      best = better ? gain : best;
      best_d = better ? d : best_d;
    };
    for (int i = 0; i < plan.start_count; ++i) offer(inverse * L::splat(plan.starts[i]));
    offer(inverse_of<L>(best_d));
    return best_d;
  }

  /// Squared error of x = scale g with the nearest g.
  F error(F scale) const noexcept {
    const F inverse = inverse_of<L>(scale);
    F e{};
    for (int i = 0; i < N; ++i) {
      const F r = x_[i] - grid_.template nearest<L>(x_[i] * inverse) * scale;
      e += weigh(i, r) * r;
    }
    return e;
  }

  /// Its derivatives along the scale, g held.
  void slopes(F scale, F& slope, F& curvature) const noexcept {
    const F inverse = inverse_of<L>(scale);
    slope = curvature = F{};
    for (int i = 0; i < N; ++i) {
      const F q = grid_.template nearest<L>(x_[i] * inverse);
      const F wq = weigh(i, q);
      slope += wq * (x_[i] - q * scale);
      curvature += wq * q;
    }
  }

 private:
  F weigh(int i, F v) const noexcept { return Even ? v : w_[i] * v; }

  const F* x_;
  const F* w_;
  Grid grid_;
};

template <class L, int N, int Count, class Grid, bool Even = false>
class ScaleSuperSearch {
  using F = typename L::F;
  static constexpr int parts = Count / L::width;

 public:
  ScaleSuperSearch(const SuperBlock<L, N, Count>& s, const Grid& grid, const ScaleSuperPlan& plan) noexcept
      : s_(s), plan_(plan), grid_(grid) {}

  SuperScale<Count> run() noexcept {
    if (s_.reach == 0) return {};
    float largest = 0;
    for (int p = 0; p < parts; ++p) {
      blocks_[p].see(s_.x[p], s_.w[p], grid_);
      real_[p] = blocks_[p].search(plan_);
      float d[L::width];
      L::store(d, real_[p]);
      for (const float v : d) largest = v * v > largest * largest ? v : largest;
    }
    if (largest == 0) return {};
    for (int i = 0; i < plan_.largest_count; ++i)
      consider(f16_bits<L>(largest * s_.unit / static_cast<float>(plan_.largest[i])), 1);
    // Among subnormal numbers one step is far, and the first may be needed where the quotient rounds to zero.
    if ((best_.d & 0x7fff) < 0x0400) consider(static_cast<uint16_t>(best_.d + 1), 3);
    for (int round = 0; round < 2; ++round) {
      const float before = best_.error;
      refine();
      if (!(best_.error < before)) break;
    }
    SuperScale<Count> found;
    found.d = best_.d;
    float scale[Count];
    best_.scale.store(scale);
    for (int j = 0; j < Count; ++j) found.scale[j] = static_cast<int8_t>(scale[j]);
    return found;
  }

 private:
  struct Choice {
    uint16_t d = 0;
    Each<L, Count> scale{};
    float error = 0x1p127f;
  };

  F limited(F v) const noexcept { return least<L>(most<L>(v, L::splat(plan_.low)), L::splat(plan_.high)); }
  float real(uint16_t h) const noexcept { return f16_float<L>(h) * s_.inverse_unit; }

  /// The integers of every block for this number, from as many as are given around the ideal ones.
  void consider(uint16_t h, int scales) noexcept {
    const float real_d = real(h);
    if (real_d == 0) return;
    Choice c;
    c.d = h;
    const F d = L::splat(real_d), inverse = L::splat(1 / real_d);
    Each<L, Count> error;
    for (int p = 0; p < parts; ++p) {
      F best = L::splat(0x1p127f), best_k{};
      const NearbyIntegers<L> ks(limited(real_[p] * inverse));
      for (int i = 0; i < scales; ++i) {
        const F k = limited(ks[i]);
        const F e = blocks_[p].error(d * k);
        const auto better = e < best;
        best = better ? e : best;
        best_k = better ? k : best_k;
      }
      error.part[p] = best;
      c.scale.part[p] = best_k;
    }
    c.error = error.sum();
    if (c.error < best_.error) best_ = c;
  }

  /// Least squares in d with all integers and codes held, then the integers again.
  void refine() noexcept {
    const float d = real(best_.d);
    Each<L, Count> slopes, curvatures;
    for (int p = 0; p < parts; ++p) {
      const F k = best_.scale.part[p];
      F slope, curvature;
      blocks_[p].slopes(L::splat(d) * k, slope, curvature);
      slopes.part[p] = k * slope;
      curvatures.part[p] = k * k * curvature;
    }
    const float curvature = curvatures.sum();
    if (curvature > 0) consider(f16_bits<L>((d + slopes.sum() / curvature) * s_.unit), 3);
  }

  const SuperBlock<L, N, Count>& s_;
  const ScaleSuperPlan& plan_;
  Grid grid_;
  ScaleBlocks<L, N, Grid, Even> blocks_[parts];
  F real_[parts];
  Choice best_;
};

}  // namespace nibble::fitting
