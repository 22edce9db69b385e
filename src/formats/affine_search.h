#pragma once

#include "formats/scale_search.h"

// The same search with an offset: x stands for d * q + m, q an integer in [0, top].

namespace nibble::fitting {

/// Squared error of a (d, m), and what the least-squares step needs: sums over w, r the residual.
struct AffineTrial {
  float error;
  float rq, r;       ///< sum of w r q, of w r
  float qq, q, one;  ///< sum of w q q, of w q, of w
};

template <int N>
AffineTrial try_affine(const float* x, const float* w, float top, float d, float m) noexcept {
  using namespace lanes;
  const F4 scale = splat(d), inverse = splat(reciprocal(d)), offset = splat(m), high = splat(top);
  F4 e{}, rq{}, r1{}, qq{}, q1{}, w1{};
  for (int i = 0; i < N; i += 4) {
    const F4 v = load(x + i) - offset, weight = load(w + i);
    const F4 q = lanes::round(clamp(v * inverse, F4{}, high));
    const F4 r = v - q * scale;
    const F4 wr = weight * r, wq = weight * q;
    e += wr * r;
    rq += wr * q;
    r1 += wr;
    qq += wq * q;
    q1 += wq;
    w1 += weight;
  }
  return {sum(e), sum(rq), sum(r1), sum(qq), sum(q1), sum(w1)};
}

/// The error alone.
template <int N>
float affine_error(const float* x, const float* w, float top, float d, float m) noexcept {
  using namespace lanes;
  const F4 scale = splat(d), inverse = splat(reciprocal(d)), offset = splat(m), high = splat(top);
  F4 e{};
  for (int i = 0; i < N; i += 4) {
    const F4 v = load(x + i) - offset;
    const F4 r = v - lanes::round(clamp(v * inverse, F4{}, high)) * scale;
    e += load(w + i) * r * r;
  }
  return sum(e);
}

struct AffineFit {
  float d = 0, m = 0;
  float error = 0;
  float mean_code = 0;  ///< weighted mean of q: where d and m move without moving the block
};

/// (d, m) after one least-squares step with the codes held; m stays at or below `ceiling`.
inline AffineFit affine_step(const AffineTrial& t, float d, float m, float ceiling) noexcept {
  const float mean = t.one > 0 ? t.q / t.one : 0.0f;
  const double det = double{t.qq} * t.one - double{t.q} * t.q;
  if (det > 1e-6 * double{t.qq} * t.one) {
    const auto step_d = static_cast<float>((double{t.rq} * t.one - double{t.r} * t.q) / det);
    const auto step_m = static_cast<float>((double{t.r} * t.qq - double{t.rq} * t.q) / det);
    if (m + step_m <= ceiling) return {d + step_d, m + step_m, t.error - step_d * t.rq - step_m * t.r, mean};
  }
  // All codes alike, or the offset at its limit: move d alone from m = ceiling, or not at all.
  const float to = std::min(ceiling, m);
  const float shift = to - m;
  const float rq = t.rq - shift * t.q;
  const float error = t.error - 2 * shift * t.r + shift * shift * t.one;
  if (!(t.qq > 0)) return {d, to, error, mean};
  return {d + rq / t.qq, to, error - rq * rq / t.qq, mean};
}

/// How far the ends of the grid are pulled inside of the block's range, in shares of the range.
struct AffineStarts {
  float from, to, step;
};

/// Best (d, m) of N weights with m <= ceiling.
template <int N>
AffineFit search_affine(const float* x, const float* w, float top, const AffineStarts& starts,
                        float ceiling) noexcept {
  float low = x[0], high = x[0];
  for (int i = 1; i < N; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  low = std::min(low, ceiling);
  const float range = high - low;
  AffineFit best{0, low, INFINITY, 0};
  if (!(range > 0x1p-60f)) {
    best.error = affine_error<N>(x, w, top, 0, low);
    return best;
  }
  // The few best starts are polished, since the best after one step is often not the best in the end. Errors
  // below what f16 parameters can resolve count as equal, and the plain range comes first: blocks of
  // few-valued weights then agree on one of their many exact solutions, which their super-block can store.
  constexpr int kept = 4;
  AffineFit pool[kept];
  for (AffineFit& p : pool) p.error = INFINITY;
  float resolution = 0;
  const auto start = [&](float m, float d) {
    const AffineTrial trial = try_affine<N>(x, w, top, d, m);
    resolution = 1e-8f * range * range * trial.one;
    AffineFit fit = affine_step(trial, d, m, ceiling);
    fit.error = std::max(fit.error, resolution);
    for (AffineFit& p : pool) {
      if (fit.error < p.error) std::swap(fit, p);
    }
  };
  start(low, range / top);
  for (float a = starts.from; a <= starts.to; a += starts.step) {
    const float m = std::min(low + a * range, ceiling);
    for (float b = starts.from; b <= starts.to; b += starts.step) start(m, (high - b * range - m) / top);
  }
  for (AffineFit& p : pool) {
    for (int k = 0; k < 6 && p.error < INFINITY; ++k) {
      AffineFit fit = affine_step(try_affine<N>(x, w, top, p.d, p.m), p.d, p.m, ceiling);
      fit.error = std::max(fit.error, resolution);
      if (!(fit.error < p.error)) break;
      p = fit;
    }
    if (p.error < best.error) best = p;
  }
  return best;
}

struct F16Pair {
  uint16_t d = 0, m = 0;
};

/// f16 scale and offset of a block of N weights, chosen by exact error near the best real ones; also
/// considered is the pair that maps the grid to the block's range, which may be exact where weights take few
/// values.
template <int N>
F16Pair fit_f16_affine(float top, const AffineStarts& starts, const float* block,
                       const float* importance) noexcept {
  const Scaled<N> s(block, importance);
  if (s.reach == 0) return {};
  F16Pair best;
  float least = INFINITY;
  const auto consider = [&](uint16_t d, uint16_t m) {
    const float e =
        affine_error<N>(s.x, s.w, top, f16_to_f32(d) * s.inverse_unit, f16_to_f32(m) * s.inverse_unit);
    if (e < least) {
      least = e;
      best = {d, m};
    }
  };
  const auto [low, high] = std::minmax_element(s.x, s.x + N);
  consider(store_f16((*high - *low) / top * s.unit), store_f16(*low * s.unit));
  const AffineFit fit = search_affine<N>(s.x, s.w, top, starts, INFINITY);
  for (int k = -2; k <= 2; ++k) {
    const uint16_t d = step_f16(store_f16(fit.d * s.unit), k);
    // The offset that keeps the middle of the codes where it was.
    const float shift = (fit.d - f16_to_f32(d) * s.inverse_unit) * fit.mean_code;
    const uint16_t centre = store_f16((fit.m + shift) * s.unit);
    for (int j = -1; j <= 1; ++j) consider(d, step_f16(centre, j));
  }
  return best;
}

}  // namespace nibble::fitting
