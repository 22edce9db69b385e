#include "formats/ternary.h"

#include "formats/scale_search.h"

namespace nibble {
namespace {

/// The best ternary scale, exactly: with the k largest magnitudes at d and the others at zero, d is their
/// weighted mean and the error falls by (sum of w |x|)^2 / (sum of w); the best k is found by trying all.
template <int N>
TernaryScale fit_ternary(const float* x, const float* importance) {
  const fitting::Scaled<N> s(x, importance);
  if (s.reach == 0) return TernaryScale::of(0);
  struct Entry {
    float magnitude, weight;
  };
  Entry sorted[N];
  for (int i = 0; i < N; ++i) sorted[i] = {std::fabs(s.x[i]), s.w[i]};
  // Equal entries are interchangeable only if their weights are equal too: the order must be total.
  std::sort(sorted, sorted + N, [](const Entry& a, const Entry& b) {
    return a.magnitude != b.magnitude ? a.magnitude > b.magnitude : a.weight > b.weight;
  });
  double moment = 0, weight = 0, best = -1;
  float d = 0;
  for (const Entry& e : sorted) {
    moment += double{e.weight} * e.magnitude;
    weight += e.weight;
    if (weight > 0 && moment * moment > best * weight) {
      best = moment * moment / weight;
      d = static_cast<float>(moment / weight);
    }
  }
  return TernaryScale::of(fitting::store_f16(d * s.unit));
}

}  // namespace

TernaryScale Q1_0::fit(const float* x, const float* importance) {
  const fitting::Scaled<128> s(x, importance);
  double moment = 0, weight = 0;
  for (int i = 0; i < 128; ++i) {
    moment += double{s.w[i]} * std::fabs(s.x[i]);
    weight += s.w[i];
  }
  return TernaryScale::of(fitting::store_f16(static_cast<float>(moment / weight) * s.unit));
}

TernaryScale Q2_0::fit(const float* x, const float* importance) {
  return TernaryScale::of(
      fitting::fit_f16_scale<64>(fitting::IntegerGrid{-1, 2}, {1.0f, 3.5f, 0.0625f, true}, 1, x, importance));
}

TernaryScale TQ1_0::fit(const float* x, const float* importance) { return fit_ternary<256>(x, importance); }
TernaryScale TQ2_0::fit(const float* x, const float* importance) { return fit_ternary<256>(x, importance); }

}  // namespace nibble
