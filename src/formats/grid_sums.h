#pragma once

#include <cstdint>

namespace nibble {

/// Sums over a block of weights in units of one grid step; q is the code, r what rounding to it left over.
struct GridTotals {
  double rr = 0, rq = 0, qq = 0;    ///< enough for a scale alone
  double r = 0, q = 0, weight = 0;  ///< and for a shift as well
};

/// n weights x with their importance (null: all alike). Code of a weight: x * inverse + shift, cut to [low,
/// high], to the nearest integer, ties to even.
struct GridTask {
  const float* x;
  const float* weight;
  int64_t n;
  float inverse, shift, low, high;
  bool shifted;  ///< all sums are wanted
};
using GridSums = GridTotals (*)(const GridTask&) noexcept;

namespace fitting {

constexpr int grid_lanes = 8;

/// Eight sums in turn, in a fixed order, so that no result depends on the vector width of the machine. V:
/// vectors of at most eight (formats/vector_lanes.h).
template <class V>
struct GridSummation {
  using F = typename V::F;
  static constexpr int parts = grid_lanes / V::width;

  F rr[parts] = {}, rq[parts] = {}, qq[parts] = {}, r1[parts] = {}, q1[parts] = {}, w1[parts] = {};

  template <bool weighted, bool shifted>
  void add(const float* x, const float* w, const GridTask& t) noexcept {
    const F magic = V::splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, ties to even
#pragma GCC unroll 8
    for (int p = 0; p < parts; ++p) {
      const F weight = weighted ? V::load(w + p * V::width) : V::splat(1.0f);
      const F at = V::load(x + p * V::width) * V::splat(t.inverse) + V::splat(t.shift);
      const F q = (V::least(V::most(at, V::splat(t.low)), V::splat(t.high)) + magic) - magic;
      const F r = at - q;
      const F wr = weighted ? weight * r : r, wq = weighted ? weight * q : q;
      rr[p] += wr * r;
      rq[p] += wr * q;
      qq[p] += wq * q;
      if constexpr (shifted) {
        r1[p] += wr;
        q1[p] += wq;
        w1[p] += weight;
      }
    }
  }

  /// What fewer weights than lanes give: the other lanes stay what they are.
  template <bool weighted, bool shifted>
  void add_rest(const float* x, const float* w, int64_t n, const GridTask& t) noexcept {
    float rest[grid_lanes] = {}, weights[grid_lanes] = {};
    for (int64_t i = 0; i < n; ++i) {
      rest[i] = x[i];
      weights[i] = weighted ? w[i] : 1.0f;
    }
    GridSummation all = *this;
    all.template add<weighted, shifted>(rest, weights, t);
    const auto take = [n](F* to, const F* from) {
      float old[grid_lanes], fresh[grid_lanes];
      __builtin_memcpy(old, to, sizeof old);
      __builtin_memcpy(fresh, from, sizeof fresh);
      for (int64_t i = 0; i < n; ++i) old[i] = fresh[i];
      __builtin_memcpy(to, old, sizeof old);
    };
    take(rr, all.rr);
    take(rq, all.rq);
    take(qq, all.qq);
    take(r1, all.r1);
    take(q1, all.q1);
    take(w1, all.w1);
  }

  static void flush(const F* lanes, double& out) noexcept {
    float v[grid_lanes];
    __builtin_memcpy(v, lanes, sizeof v);
    double total = 0;
    for (const float lane : v) total += static_cast<double>(lane);
    out += total;
  }

  template <bool weighted, bool shifted>
  static GridTotals sums(const GridTask& t) noexcept {
    constexpr int64_t stretch = 4096;  // floats summed before the lanes go to double
    GridTotals total;
    for (int64_t begin = 0; begin < t.n; begin += stretch) {
      const int64_t end = t.n - begin < stretch ? t.n : begin + stretch;
      GridSummation s;
      int64_t i = begin;
      for (; i + grid_lanes <= end; i += grid_lanes)
        s.template add<weighted, shifted>(t.x + i, weighted ? t.weight + i : nullptr, t);
      if (i < end)
        s.template add_rest<weighted, shifted>(t.x + i, weighted ? t.weight + i : nullptr, end - i, t);
      flush(s.rr, total.rr);
      flush(s.rq, total.rq);
      flush(s.qq, total.qq);
      if constexpr (!shifted) continue;
      flush(s.r1, total.r);
      flush(s.q1, total.q);
      flush(s.w1, total.weight);
    }
    return total;
  }
};

template <class V>
GridTotals grid_sums(const GridTask& t) noexcept {
  using S = GridSummation<V>;
  if (t.weight != nullptr)
    return t.shifted ? S::template sums<true, true>(t) : S::template sums<true, false>(t);
  return t.shifted ? S::template sums<false, true>(t) : S::template sums<false, false>(t);
}

}  // namespace fitting
}  // namespace nibble
