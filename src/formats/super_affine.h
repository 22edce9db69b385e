#pragma once

#include "formats/super_block.h"

// Super-blocks with offsets: block j stands for (d scale[j]) q - (dmin offset[j]), q an integer in [0, top],
// d and dmin f16 numbers, scale[j] and offset[j] integers in [0, limit].

namespace nibble::fitting {

template <int Count>
struct SuperAffine {
  uint16_t d = 0, dmin = 0;
  uint8_t scale[Count] = {}, offset[Count] = {};
};

/// Where the ends of a grid are put first: inside of a block's range by these shares of it.
struct AffineStart {
  float low, high;
};

/// Codes up to `top`, integer scales and offsets up to `limit`; where to look, the plain range first, and how
/// often the best is polished.
struct AffinePlan {
  float top, limit;
  const AffineStart* starts;
  int count, polish;
};

/// The best real scales of blocks, and where their offsets lie.
template <class L>
struct RealAffine {
  using F = typename L::F;
  F d{}, m{};  ///< x = d q + m
  F mean{};    ///< weighted mean of q: where d and m move without moving the block
  F error{};
};

/// N weights of L::width blocks, seen from their weighted mean; Even: all weigh 1, which need not be
/// multiplied with.
template <class L, int N, bool Even>
class AffineBlocks {
  using F = typename L::F;

 public:
  /// m may not be above the ceiling.
  void see(const F* x, const F* w, float top, F ceiling) noexcept {
    w_ = w;
    top_ = top;
    half_ = L::splat((top + 1) / 2);
    ceiling_ = ceiling;
    weight_ = power_ = F{};
    F sum{};
    low_ = high_ = x[0];
    for (int i = 0; i < N; ++i) {
      weight_ += w[i];
      sum += w[i] * x[i];
      low_ = least<L>(low_, x[i]);
      high_ = most<L>(high_, x[i]);
    }
    low_ = least<L>(low_, ceiling);
    per_weight_ = L::splat(1.0f) / weight_;
    centre_ = sum * per_weight_;
    for (int i = 0; i < N; ++i) {
      x_[i] = x[i] - centre_;
      power_ += w[i] * x_[i] * x_[i];
    }
  }

  RealAffine<L> search(const AffinePlan& plan) const noexcept {
    const F range = high_ - low_;
    const auto flat = range <= L::splat(0x1p-60f);
    const F one = L::splat(1.0f);
    const F per_step = flat ? F{} : L::splat(top_) / (flat ? one : range);
    const F base = (centre_ - low_) * per_step;
    // Errors below what f16 parameters can resolve count as equal, and the plain range comes first: blocks of
    // few-valued weights then agree on one of their many exact solutions, which their super-block can store.
    const F resolution = L::splat(1e-7f) * range * range * weight_;
    RealAffine<L> best;
    best.error = L::splat(0x1p127f);
    const auto offer = [&](RealAffine<L> t) noexcept {
      t.error = most<L>(t.error, resolution);
      const auto better = t.error < best.error;
      best.d = better ? t.d : best.d;
      best.m = better ? t.m : best.m;
      best.mean = better ? t.mean : best.mean;
      best.error = better ? t.error : best.error;
    };
    const auto start = [&](const AffineStart& a) noexcept {
      const F s = L::splat(1 / (1 - a.low - a.high));
      offer(step(per_step * s, (base - L::splat(a.low * top_)) * s - half_));
    };
    for (int i = 0; i < plan.count; ++i) start(plan.starts[i]);
    for (int k = 0; k < plan.polish; ++k) {
      const F inverse = inverse_of<L>(best.d);
      offer(step(inverse, (centre_ - best.m) * inverse - half_));
    }
    return best;
  }

  /// Squared error of x = scale q - offset with the nearest q.
  F error(F scale, F offset) const noexcept {
    const F inverse = inverse_of<L>(scale), shift = centre_ + offset, high = L::splat(top_);
    F e{};
    for (int i = 0; i < N; ++i) {
      const F v = x_[i] + shift;
      const F r = v - whole<L>(least<L>(most<L>(v * inverse, F{}), high)) * scale;
      e += weigh(i, r) * r;
    }
    return e;
  }

  /// Sums over w, of residuals r and codes q: r q, r, q q, q, 1.
  struct Slopes {
    F rq{}, r{}, qq{}, q{}, one{};
  };
  Slopes slopes(F scale, F offset) const noexcept {
    const F inverse = inverse_of<L>(scale), shift = centre_ + offset, high = L::splat(top_);
    Slopes s;
    for (int i = 0; i < N; ++i) {
      const F v = x_[i] + shift;
      const F q = whole<L>(least<L>(most<L>(v * inverse, F{}), high));
      const F wr = weigh(i, v - q * scale), wq = weigh(i, q);
      s.rq += wr * q;
      s.r += wr;
      s.qq += wq * q;
      s.q += wq;
    }
    s.one = weight_;
    return s;
  }

 private:
  /// The best (d, m) for the codes nearest to x * inverse + shift, codes being counted from the middle of the
  /// grid.
  RealAffine<L> step(F inverse, F shift) const noexcept {
    const F low = -half_, high = L::splat(top_) - half_;
    F xq{}, qq{}, q1{};
    for (int i = 0; i < N; ++i) {
      const F q = whole<L>(least<L>(most<L>(x_[i] * inverse + shift, low), high));
      const F wq = weigh(i, q);
      xq += wq * x_[i];
      qq += wq * q;
      q1 += wq;
    }
    // The sum of w x is zero.
    const F mean = q1 * per_weight_;
    const F det = qq - q1 * mean;
    const auto spread = det > L::splat(1e-5f) * qq;
    RealAffine<L> r;
    r.d = spread ? xq / (spread ? det : qq) : F{};
    r.mean = mean + half_;
    r.m = centre_ - r.d * r.mean;
    r.error = power_ - r.d * xq;
    const auto above = r.m > ceiling_;
    if (L::any(above)) {
      // m stays at its limit, and d alone is free.
      const F m = ceiling_ - centre_;
      const F num = xq - m * (q1 + half_ * weight_);
      const F den = qq + half_ * (q1 + q1 + half_ * weight_);
      const F d = den > F{} ? num / den : F{};
      const F e = power_ + m * m * weight_ - d * num;
      r.d = above ? d : r.d;
      r.m = above ? ceiling_ : r.m;
      r.error = above ? e : r.error;
    }
    return r;
  }

  F weigh(int i, F v) const noexcept { return Even ? v : w_[i] * v; }

  F x_[N];
  const F* w_;
  float top_;
  F half_, ceiling_;
  F low_, high_, centre_, weight_, per_weight_, power_;
};

template <class L, int N, int Count, bool Even = false>
class AffineSuperSearch {
  using F = typename L::F;
  static constexpr int parts = Count / L::width;

 public:
  AffineSuperSearch(const SuperBlock<L, N, Count>& s, const AffinePlan& plan) noexcept : s_(s), plan_(plan) {}

  SuperAffine<Count> run() noexcept {
    if (s_.reach == 0) return {};
    // Offsets have one sign for the whole super-block: dmin's. A super-block above zero takes a negative
    // dmin.
    const F ceiling = L::splat(s_.lowest > 0 ? 0x1p127f : 0.0f);
    for (int p = 0; p < parts; ++p) {
      blocks_[p].see(s_.x[p], s_.w[p], plan_.top, ceiling);
      real_[p] = blocks_[p].search(plan_);
      if (s_.lowest > 0) real_[p].m = most<L>(real_[p].m, F{});
    }
    float largest = 0, deepest = 0;
    for (int p = 0; p < parts; ++p) {
      float d[L::width], m[L::width];
      L::store(d, real_[p].d);
      L::store(m, real_[p].m);
      for (int i = 0; i < L::width; ++i) {
        largest = d[i] > largest ? d[i] : largest;
        deepest = m[i] * m[i] > deepest * deepest ? m[i] : deepest;
      }
    }
    if (largest == 0 && deepest == 0) return {};
    const uint16_t dmin = stored(-deepest / plan_.limit);
    static constexpr float shares[] = {1.0f, 0.985f, 0.97f, 0.955f, 0.94f, 1.03f};
    for (const float share : shares) {
      consider(stored(largest / (share * plan_.limit)), dmin, 1, 1);
    }
    // Among subnormal numbers one step is far, and the first may be needed where the quotient rounds to zero.
    if (subnormal(best_.d)) consider(stepped(best_.d), best_.dmin, 3, 2);
    if (subnormal(best_.dmin)) consider(best_.d, stepped(best_.dmin), 3, 2);
    for (int round = 0; round < 2; ++round) {
      const float before = best_.error;
      refine();
      if (!(best_.error < before)) break;
    }
    SuperAffine<Count> found;
    found.d = best_.d;
    found.dmin = best_.dmin;
    float scale[Count], offset[Count];
    best_.scale.store(scale);
    best_.offset.store(offset);
    for (int j = 0; j < Count; ++j) {
      found.scale[j] = static_cast<uint8_t>(scale[j]);
      found.offset[j] = static_cast<uint8_t>(offset[j]);
    }
    return found;
  }

 private:
  struct Choice {
    uint16_t d = 0, dmin = 0;
    Each<L, Count> scale{}, offset{};
    float error = 0x1p127f;
  };

  uint16_t stored(float d) const noexcept { return f16_bits<L>(d * s_.unit); }
  static bool subnormal(uint16_t h) noexcept { return (h & 0x7fff) < 0x0400; }
  static uint16_t stepped(uint16_t h) noexcept { return static_cast<uint16_t>(h + 1); }
  float real(uint16_t h) const noexcept { return f16_float<L>(h) * s_.inverse_unit; }
  static float reciprocal(float d) noexcept { return d > 0x1p-126f || d < -0x1p-126f ? 1 / d : 0.0f; }
  F limited(F v) const noexcept { return least<L>(most<L>(v, F{}), L::splat(plan_.limit)); }

  /// The integers of every block for these two numbers, from as many as are given around the ideal ones.
  void consider(uint16_t hd, uint16_t hmin, int scales, int offsets) noexcept {
    Choice c;
    c.d = hd;
    c.dmin = hmin;
    const F d = L::splat(real(hd)), dmin = L::splat(real(hmin));
    const F inverse = L::splat(reciprocal(real(hd))), inverse_min = L::splat(reciprocal(real(hmin)));
    Each<L, Count> error;
    for (int p = 0; p < parts; ++p) {
      const RealAffine<L>& f = real_[p];
      F best = L::splat(0x1p127f), best_k{}, best_o{};
      const NearbyIntegers<L> ks(limited(f.d * inverse));
      for (int i = 0; i < scales; ++i) {
        const F k = limited(ks[i]), scale = d * k;
        // The offset that keeps the middle of the codes where it was.
        const NearbyIntegers<L> os(limited(((scale - f.d) * f.mean - f.m) * inverse_min));
        for (int j = 0; j < offsets; ++j) {
          const F o = limited(os[j]);
          const F e = blocks_[p].error(scale, dmin * o);
          const auto better = e < best;
          best = better ? e : best;
          best_k = better ? k : best_k;
          best_o = better ? o : best_o;
        }
      }
      error.part[p] = best;
      c.scale.part[p] = best_k;
      c.offset.part[p] = best_o;
    }
    c.error = error.sum();
    if (c.error < best_.error) best_ = c;
  }

  /// Least squares in (d, dmin) with all integers and codes held, then the integers again.
  void refine() noexcept {
    const float d = real(best_.d), dmin = real(best_.dmin);
    Each<L, Count> gd, gm, dd, dm, mm;
    for (int p = 0; p < parts; ++p) {
      const F k = best_.scale.part[p], o = best_.offset.part[p];
      const auto t = blocks_[p].slopes(L::splat(d) * k, L::splat(dmin) * o);
      gd.part[p] = k * t.rq;
      gm.part[p] = o * t.r;
      dd.part[p] = k * k * t.qq;
      dm.part[p] = k * o * t.q;
      mm.part[p] = o * o * t.one;
    }
    const double a = dd.sum(), b = -dm.sum(), c = mm.sum(), u = gd.sum(), v = -gm.sum();
    double step_d = a > 0 ? u / a : 0, step_m = 0;
    if (const double det = a * c - b * b; det > 1e-6 * a * c) {
      step_d = (u * c - v * b) / det;
      step_m = (v * a - u * b) / det;
    }
    consider(stored(d + static_cast<float>(step_d)), stored(dmin + static_cast<float>(step_m)), 3, 2);
  }

  const SuperBlock<L, N, Count>& s_;
  const AffinePlan& plan_;
  AffineBlocks<L, N, Even> blocks_[parts];
  RealAffine<L> real_[parts];
  Choice best_;
};

}  // namespace nibble::fitting
