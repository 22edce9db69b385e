#include "formats/grid_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "formats/vector_lanes.h"

namespace nibble {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int lanes = fitting::grid_lanes;

struct Home;
using Four = fitting::VectorLanes<4, Home>;

template <bool shifted>
GridTotals sums(const GridData& d, float inverse, float shift, float low, float high) {
  const GridSums how = d.sums != nullptr ? d.sums : &fitting::grid_sums<Four>;
  return how({d.x, d.weight, d.n, inverse, shift, low, high, shifted});
}

bool usable(float scale) { return scale != 0 && std::isfinite(scale) && std::isfinite(1.0f / scale); }

// Without any importance at all, every weight counts alike.
GridData checked(GridData d) {
  if (d.weight != nullptr &&
      std::all_of(d.weight, d.weight + d.n, [](float w) { return !(w > 0) || !std::isfinite(w); }))
    d.weight = nullptr;
  return d;
}

/// One trial: the error left when the scale is chosen best for the codes that `from` gives.
struct Trial {
  double error = infinity;
  float scale = 0;  // the best one for these codes
  int zero = 0;
};

Trial try_scale(const GridData& d, float from, int low, int levels, int zero) {
  if (!usable(from)) return {infinity, from, zero};
  const GridTotals s =
      sums<false>(d, 1.0f / from, 0, static_cast<float>(low - zero), static_cast<float>(levels - zero));
  const double unit = static_cast<double>(from) * from;
  if (s.qq <= 0) return {unit * s.rr, from, zero};
  const double change = s.rq / s.qq;
  return {unit * (s.rr - s.rq * change), static_cast<float>(from * (1 + change)), zero};
}

void keep_better(Trial& best, const Trial& t) {
  if (t.error < best.error) best = t;
}

// From the scale that clips nothing downward, until four steps in a row bring nothing. Returns the best
// start.
Trial descend(const GridData& d, float start, int low, int levels, int zero) {
  constexpr float factor = 0.9f;
  static const std::array<float, 9> finer = [] {
    std::array<float, 9> f{};
    for (size_t k = 0; k < f.size(); ++k) f[k] = std::pow(factor, 0.2f * (static_cast<float>(k) - 4.0f));
    return f;
  }();
  Trial best;
  float best_from = start;
  int idle = 0;
  for (int k = 0; k < 64 && idle < 4; ++k, start *= factor) {
    const Trial t = try_scale(d, start, low, levels, zero);
    if (t.error < best.error) {
      best = t;
      best_from = start;
      idle = 0;
    } else {
      ++idle;
    }
  }
  for (const float f : finer) {  // around the best rung
    if (f != 1.0f) keep_better(best, try_scale(d, best_from * f, low, levels, zero));
  }
  return best;
}

void alternate(const GridData& d, Trial& best, int low, int levels) {
  for (int k = 0; k < 4; ++k) {
    const Trial t = try_scale(d, best.scale, low, levels, best.zero);
    if (!(t.error < best.error)) return;
    best = t;
  }
}

// The scale at which the grid just reaches both ends of the data.
float covering_scale(MinMax range, int low, int levels, int zero) {
  float s = 0;
  if (levels > zero) s = std::max(s, range.max / static_cast<float>(levels - zero));
  if (low < zero) s = std::max(s, range.min / static_cast<float>(low - zero));
  return s;
}

}  // namespace

MinMax min_max(const float* x, int64_t n) noexcept {
  if (n == 0) return {0, 0};
  float low[lanes], high[lanes];
  std::fill_n(low, lanes, x[0]);
  std::fill_n(high, lanes, x[0]);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (int lane = 0; lane < lanes; ++lane) {
      const float v = x[i + lane];
      low[lane] = v < low[lane] ? v : low[lane];
      high[lane] = v > high[lane] ? v : high[lane];
    }
  }
  MinMax m{*std::min_element(low, low + lanes), *std::max_element(high, high + lanes)};
  for (; i < n; ++i) m = {std::min(m.min, x[i]), std::max(m.max, x[i])};
  return m;
}

UniformGrid search_scale(const GridData& data, int low, int levels, int zero, bool both_signs) {
  const GridData d = checked(data);
  const MinMax range = min_max(d.x, d.n);
  Trial best = descend(d, 1.05f * covering_scale(range, low, levels, zero), low, levels, zero);
  if (both_signs) {
    const MinMax turned{-range.max, -range.min};
    keep_better(best, descend(d, -1.05f * covering_scale(turned, low, levels, zero), low, levels, zero));
  }
  if (!(best.error < infinity)) return {0, static_cast<float>(zero)};
  alternate(d, best, low, levels);
  return {best.scale, static_cast<float>(zero)};
}

UniformGrid search_scale_and_zero(const GridData& data, int levels) {
  const GridData d = checked(data);
  const MinMax range = min_max(d.x, d.n);
  const float low = std::min(range.min, 0.0f), high = std::max(range.max, 0.0f);
  const double span = static_cast<double>(high) - low;
  if (!(span > 0)) return {0, 0};
  const int middle = static_cast<int>(std::lround(-static_cast<double>(low) / span * levels));
  Trial best = descend(d, 1.05f * covering_scale({low, high}, 0, levels, middle), 0, levels, middle);
  for (const int end : {0, levels}) {  // all weights of one sign but for a few
    if (end != middle)
      keep_better(best, try_scale(d, covering_scale({low, high}, 0, levels, end), 0, levels, end));
  }
  if (!(best.error < infinity)) return {0, 0};
  // Moving the zero point moves both ends: walk as far as it helps, with ever smaller steps.
  const float nudge = levels > 31 ? 0.02f : 0.06f;
  for (int step = levels > 31 ? 4 : 1; step >= 1; step /= 2) {
    for (const int direction : {-step, step}) {
      for (bool improved = true; improved;) {
        const double before = best.error;
        const int zero = best.zero + direction;
        if (zero < 0 || zero > levels) break;
        const float scale = best.scale;
        for (const float f : {1.0f, 1.0f - nudge, 1.0f + nudge})
          keep_better(best, try_scale(d, scale * f, 0, levels, zero));
        improved = best.error < before;
      }
    }
  }
  const float around = best.scale;
  for (const float f : {0.94f, 0.96f, 0.98f, 0.99f, 1.01f, 1.02f, 1.04f, 1.06f})
    keep_better(best, try_scale(d, around * f, 0, levels, best.zero));
  alternate(d, best, 0, levels);
  return {best.scale, static_cast<float>(best.zero)};
}

namespace {

/// Grid from `offset` (the value of code 0) upward, and the error left when both are refitted to its codes.
struct AffineTrial {
  double error = infinity;
  double scale = 0, offset = 0;
};

AffineTrial try_affine(const GridData& d, double scale, double offset, int levels) {
  const auto from = static_cast<float>(scale);
  if (!usable(from)) return {};
  const auto inverse = 1.0f / from;
  const auto shift = static_cast<float>(-offset / scale);
  if (!std::isfinite(shift)) return {};
  const GridTotals s = sums<true>(d, inverse, shift, 0, static_cast<float>(levels));
  const double unit = static_cast<double>(from) * from;
  // Residuals are in steps of the grid: r = a * q + b is the least-squares correction of both parameters.
  const double determinant = s.weight * s.qq - s.q * s.q;
  if (!(s.weight > 0)) return {};
  const bool flat = !(determinant > 1e-9 * s.weight * s.qq);
  const double a = flat ? 0 : (s.weight * s.rq - s.q * s.r) / determinant;
  const double b = (s.r - a * s.q) / s.weight;
  const double error = unit * std::max(0.0, s.rr - a * s.rq - b * s.r);
  return {error, scale * (1 + a), offset + scale * b};
}

}  // namespace

UniformGrid search_affine(const GridData& data, int levels) {
  const GridData d = checked(data);
  const MinMax range = min_max(d.x, d.n);
  const double span = static_cast<double>(range.max) - range.min;
  if (!usable(static_cast<float>(span / levels))) {  // all weights alike: one step up or down from zero
    if (!usable(range.min)) return {0, 0};
    return {std::fabs(range.min), range.min > 0 ? -1.0f : 1.0f};
  }
  double cut_low = 0, cut_high = 0;  // share of the span that is clipped at each end
  AffineTrial best;
  const auto attempt = [&](double low, double high) {
    if (low + high >= 0.98) return false;
    const AffineTrial t =
        try_affine(d, span * (1 - low - high) / levels, static_cast<double>(range.min) + low * span, levels);
    if (!(t.error < best.error)) return false;
    best = t;
    cut_low = low;
    cut_high = high;
    return true;
  };
  int idle = 0;
  for (double cut = -0.02; cut < 0.48 && idle < 4; cut += 0.03) idle = attempt(cut, cut) ? 0 : idle + 1;
  for (double step = 0.04; step > 0.004; step /= 2) {
    for (int pass = 0; pass < 4; ++pass) {
      bool better = false;
      for (const double by : {-step, step}) {
        better |= attempt(cut_low + by, cut_high);
        better |= attempt(cut_low, cut_high + by);
      }
      if (!better) break;
    }
  }
  for (int k = 0; k < 4; ++k) {
    const AffineTrial t = try_affine(d, best.scale, best.offset, levels);
    if (!(t.error < best.error)) break;
    best = t;
  }
  if (!(best.error < infinity)) return {0, 0};
  return {static_cast<float>(best.scale), static_cast<float>(-best.offset / best.scale)};
}

double grid_error(const GridData& data, const UniformGrid& grid, int low, int levels, bool integer_zero) {
  const GridData d = checked(data);
  const float inverse = usable(grid.scale) ? 1.0f / grid.scale : 0.0f;
  const float shift = integer_zero ? 0.0f : grid.zero;
  const float moved = integer_zero ? grid.zero : 0.0f;
  if (inverse == 0) {  // every weight becomes zero
    double error = 0;
    for (int64_t i = 0; i < d.n; ++i)
      error += (d.weight != nullptr ? d.weight[i] : 1.0) * static_cast<double>(d.x[i]) * d.x[i];
    return error;
  }
  const GridTotals s =
      sums<false>(d, inverse, shift, static_cast<float>(low) - moved, static_cast<float>(levels) - moved);
  return static_cast<double>(grid.scale) * grid.scale * s.rr;
}

}  // namespace nibble
