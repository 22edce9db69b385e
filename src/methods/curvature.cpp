#include "methods/curvature.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/finite.h"
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

void require_finite(std::span<const float> hessian, int64_t n, ThreadPool& pool) {
  std::atomic<bool> finite = true;
  const auto width = static_cast<size_t>(n);
  pool.parallel_for(width, [&](size_t row) {
    if (!all_finite(hessian.data() + row * width, width)) finite = false;
  });
  for (size_t i = 0; i < hessian.size() && !finite; ++i) {
    if (std::isfinite(hessian[i])) continue;
    throw Error(
        ErrorKind::bad_input,
        fmt::format("the Hessian holds {} at input {}, {}", std::isnan(hessian[i]) ? "NaN" : "infinity",
                    static_cast<int64_t>(i) / n, static_cast<int64_t>(i) % n),
        "an activation overflowed: calibrate in f32, and look for damaged weights upstream");
  }
}

/// Columns by falling diagonal; equal ones, as all dead ones are, stay from left to right.
std::vector<int64_t> falling_diagonal(std::span<const float> hessian, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const auto diagonal = [&](int64_t j) { return hessian[static_cast<size_t>(j * (n + 1))]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return diagonal(a) > diagonal(b); });
  return order;
}

}  // namespace

std::shared_ptr<const Curvature> Curvature::of(const Stats& stats, const SolverOptions& options,
                                               ThreadPool& pool) {
  auto c = std::make_shared<Curvature>();
  const int64_t n = side_of(stats.hessian);
  c->n = n;
  c->passes = options.passes;
  c->precision = options.precision;
  c->static_groups = options.static_groups || options.act_order;
  require_finite(stats.hessian, n, pool);
  if (options.act_order) c->order = falling_diagonal(stats.hessian, n);
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
  const LargeArray<double> r(stats.hessian.size());  // what lies below the diagonal stays zero
  // Where the columns of turns i and j meet.
  const auto at = [&c, n](int64_t i, int64_t j) {
    return static_cast<size_t>(c->column(i) * n + c->column(j));
  };
  double damping = options.damping;
  for (;; damping = std::max(damping * 10, 1e-6), ++c->report_.raised) {
    if (damping > 1) {
      throw Error(ErrorKind::bad_input, "the Hessian is far from positive definite: no damping makes it so",
                  "the statistics are damaged; calibrate again");
    }
    pool.parallel_for(static_cast<size_t>(n), [&](size_t row) {
      const auto i = static_cast<int64_t>(row);
      for (int64_t j = i; j < n; ++j) r[static_cast<size_t>(i * n + j)] = stats.hessian[at(i, j)] * unit;
      r[static_cast<size_t>(i * n + i)] += damping;
    });
    if (linalg::factor_upper({r.data(), r.size()}, n, pool, options.precision)) break;
  }
  c->report_.damping = damping;
  if (options.passes > 0) c->h = LargeArray<float>(r.size());
  c->m = LargeArray<float>(r.size());
  c->diagonal.resize(static_cast<size_t>(n));
  c->d.resize(static_cast<size_t>(n));
  std::vector<double> pivots(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    const double pivot = r[static_cast<size_t>(j * n + j)];
    pivots[static_cast<size_t>(j)] = pivot;
    c->d[static_cast<size_t>(c->column(j))] = static_cast<float>(pivot * pivot);
  }
  pool.parallel_for(static_cast<size_t>(n), [&](size_t i) {
    const auto width = static_cast<size_t>(n);
    const size_t row = i * width;
    for (size_t j = i; j < width; ++j) c->m[row + j] = static_cast<float>(r[row + j] / pivots[j]);
    c->diagonal[i] = static_cast<float>(stats.hessian[row + i] * unit + damping);
    if (c->h.size() == 0) return;
    for (size_t j = 0; j < width; ++j) c->h[row + j] = static_cast<float>(stats.hessian[row + j] * unit);
    c->h[row + i] = c->diagonal[i];
  });
  if (c->precision == Precision::fast) c->split = SplitTriangle(c->m.data(), n, pool);
  return c;
}

}  // namespace nibble
