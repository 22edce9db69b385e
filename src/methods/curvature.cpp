#include "methods/curvature.h"

#include <algorithm>
#include <cmath>

#include "methods/linalg.h"

namespace nibble {
namespace {

int64_t side_of(std::span<const float> hessian) {
  if (hessian.empty()) {
    throw Error(ErrorKind::bad_input, "the solver needs a Hessian, and none was collected",
                "calibrate on a text that reaches this matrix");
  }
  const auto n = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(hessian.size()))));
  if (static_cast<size_t>(n) * static_cast<size_t>(n) != hessian.size())
    fail(ErrorKind::bad_input, "a Hessian of {} numbers is not square", hessian.size());
  return n;
}

void require_finite(std::span<const float> hessian, int64_t n) {
  for (size_t i = 0; i < hessian.size(); ++i) {
    if (std::isfinite(hessian[i])) continue;
    throw Error(
        ErrorKind::bad_input,
        fmt::format("the Hessian holds {} at input {}, {}", std::isnan(hessian[i]) ? "NaN" : "infinity",
                    static_cast<int64_t>(i) / n, static_cast<int64_t>(i) % n),
        "an activation overflowed: calibrate in f32, and look for damaged weights upstream");
  }
}

}  // namespace

std::shared_ptr<const Curvature> Curvature::of(const Stats& stats, const SolverOptions& options,
                                               ThreadPool& pool) {
  auto c = std::make_shared<Curvature>();
  const int64_t n = side_of(stats.hessian);
  c->n = n;
  c->passes = options.passes;
  require_finite(stats.hessian, n);
  double mean = 0;
  for (int64_t j = 0; j < n; ++j) {
    const float v = stats.hessian[static_cast<size_t>(j * n + j)];
    if (v < 0) fail(ErrorKind::bad_input, "the Hessian's diagonal is negative ({}) at input {}", v, j);
    if (v == 0) ++c->report_.dead_columns;
    mean += v;
  }
  mean /= static_cast<double>(n);
  if (!(mean > 0)) {
    throw Error(ErrorKind::bad_input, "the Hessian is zero: the calibration text never reached this matrix",
                "calibrate on more or other text, or use a solver without data for this tensor");
  }
  // Everything relative to the mean diagonal, so that no input's unit can under- or overflow.
  const double unit = 1 / mean;
  std::vector<double> r(stats.hessian.size());
  double damping = options.damping;
  for (;; damping = std::max(damping * 10, 1e-6), ++c->report_.raised) {
    if (damping > 1) {
      throw Error(ErrorKind::bad_input, "the Hessian is far from positive definite: no damping makes it so",
                  "the statistics are damaged; calibrate again");
    }
    for (size_t i = 0; i < r.size(); ++i) r[i] = stats.hessian[i] * unit;
    for (int64_t j = 0; j < n; ++j) r[static_cast<size_t>(j * n + j)] += damping;
    if (linalg::factor_upper(r, n, pool)) break;
  }
  c->report_.damping = damping;
  c->h.resize(r.size());
  c->m.resize(r.size());
  c->d.resize(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    const double pivot = r[static_cast<size_t>(j * n + j)];
    c->d[static_cast<size_t>(j)] = static_cast<float>(pivot * pivot);
  }
  pool.parallel_for(static_cast<size_t>(n), [&](size_t i) {
    const size_t row = i * static_cast<size_t>(n);
    for (size_t j = 0; j < static_cast<size_t>(n); ++j) {
      c->h[row + j] = static_cast<float>(stats.hessian[row + j] * unit + (i == j ? damping : 0.0));
      c->m[row + j] = j < i ? 0.0f : static_cast<float>(r[row + j] / r[j * static_cast<size_t>(n) + j]);
    }
  });
  return c;
}

}  // namespace nibble
