#include "calibrate/input_stats.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/elementwise.h"

namespace nibble {
namespace {

void require_finite(const InputStats& stats, const Value& x) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const float v = x.row(r)[c];
      if (std::isfinite(v)) continue;
      throw Error(ErrorKind::bad_input,
                  fmt::format("{} reads {} in channel {} at token {} of a sequence", stats.readers.front(),
                              std::isnan(v) ? "NaN" : "infinity", c, r),
                  "the model is damaged upstream of this matrix, or overflows on this text");
    }
  }
}

/// Smallest and largest value.
struct Ends {
  float low = INFINITY, high = -INFINITY;
};

constexpr int64_t strip = 64;  ///< columns that one thread looks at

/// Sums and ends of columns [begin, begin + n); the ends of these rows.
Ends see_strip(InputStats& stats, const Value& x, int64_t begin, int64_t n) {
  float low[strip], high[strip];
  std::fill_n(low, strip, INFINITY);
  std::fill_n(high, strip, -INFINITY);
  see_columns(
      {x.data + begin, x.rows, x.cols, n, stats.sum.data() + begin, stats.sum2.data() + begin, low, high});
  Ends ends;
  for (size_t c = 0, at = static_cast<size_t>(begin); c < static_cast<size_t>(n); ++c, ++at) {
    stats.min[at] = std::min(stats.min[at], low[c]);
    stats.max[at] = std::max(stats.max[at], high[c]);
    ends.low = std::min(ends.low, low[c]);
    ends.high = std::max(ends.high, high[c]);
  }
  return ends;
}

/// One step of the running averages.
void see_range(InputStats& stats, const Ends& ends) {
  const float weight = stats.rows == 0 ? 1.0f : InputStats::momentum;
  stats.running_low += (ends.low - stats.running_low) * weight;
  stats.running_high += (ends.high - stats.running_high) * weight;
}

}  // namespace

std::vector<float> InputStats::importance() const {
  std::vector<float> mean;
  if (rows == 0) return mean;
  mean.reserve(sum2.size());
  for (const double s : sum2) mean.push_back(static_cast<float>(s / static_cast<double>(rows)));
  return mean;
}

std::vector<float> InputStats::maxima() const {
  std::vector<float> all(static_cast<size_t>(cols));
  for (size_t i = 0; i < all.size() && rows > 0; ++i) all[i] = std::max(-min[i], max[i]);
  return all;
}

void add_rows(InputStats& stats, const Value& x, const Collect& collect, ThreadPool& pool) {
  const auto n = static_cast<size_t>(x.cols);
  if (stats.rows == 0) {
    stats.cols = x.cols;
    stats.sum.assign(n, 0);
    stats.sum2.assign(n, 0);
    stats.min.assign(n, INFINITY);
    stats.max.assign(n, -INFINITY);
    if (collect.hessian) stats.gram.emplace_back(x.cols, collect.precision);
    if (collect.histogram) stats.histogram.resize(1);
  }
  if (stats.cols != x.cols) fail(ErrorKind::internal, "an input of {} columns had {}", x.cols, stats.cols);
  if (x.rows == 0) return;
  std::vector<Ends> ends(static_cast<size_t>((x.cols + strip - 1) / strip));
  pool.parallel_for(ends.size(), [&](size_t i) {
    const int64_t begin = static_cast<int64_t>(i) * strip;
    ends[i] = see_strip(stats, x, begin, std::min(strip, x.cols - begin));
  });
  Ends all;
  for (const Ends& e : ends) all = {std::min(all.low, e.low), std::max(all.high, e.high)};
  double total = 0;
  for (const double v : stats.sum2) total += v;
  if (!std::isfinite(total)) require_finite(stats, x);
  see_range(stats, all);
  stats.rows += x.rows;
  if (collect.histogram) {
    for (int64_t r = 0; r < x.rows; ++r) stats.histogram.front().add({x.row(r), n});
  }
  if (collect.hessian) stats.gram.front().add(x.data, x.rows, pool);
}

void finish_stats(InputStats& stats, ThreadPool& pool) {
  if (!stats.histogram.empty()) {
    stats.values = stats.histogram.front().points();
    stats.histogram.clear();
  }
  if (stats.gram.empty()) return;
  stats.hessian = stats.gram.front().take(pool);
  stats.gram.clear();
}

void add_stats(InputStats& to, const InputStats& from) {
  if (from.rows == 0) return;
  if (to.rows == 0) {
    const std::vector<std::string> readers = to.readers;
    const int64_t slice = to.slice;
    to = from;
    to.slice = slice;
    if (!readers.empty()) to.readers = readers;
    return;
  }
  if (to.cols != from.cols || to.hessian.size() != from.hessian.size())
    fail(ErrorKind::internal, "statistics of {} and {} columns cannot be added", to.cols, from.cols);
  const float share = static_cast<float>(from.rows) / static_cast<float>(to.rows + from.rows);
  to.running_low += (from.running_low - to.running_low) * share;
  to.running_high += (from.running_high - to.running_high) * share;
  if (!to.values.x.empty() || !from.values.x.empty()) {
    Histogram all;
    const Histogram::Points* const both[] = {&to.values, &from.values};
    for (const Histogram::Points* p : both)
      for (size_t i = 0; i < p->x.size(); ++i) all.add(p->x[i], double{p->weight[i]});
    to.values = all.points();
  }
  to.rows += from.rows;
  for (size_t i = 0; i < to.sum.size(); ++i) {
    to.sum[i] += from.sum[i];
    to.sum2[i] += from.sum2[i];
    to.min[i] = std::min(to.min[i], from.min[i]);
    to.max[i] = std::max(to.max[i], from.max[i]);
  }
  for (size_t i = 0; i < to.hessian.size(); ++i) to.hessian[i] += from.hessian[i];
}

void add_to_imatrix(Imatrix& imatrix, const InputStats& stats, int64_t slices) {
  const auto n = static_cast<size_t>(stats.cols), all = static_cast<size_t>(slices);
  for (const std::string& reader : stats.readers) {
    Imatrix::Entry& e = imatrix.entries[reader];
    if (e.sum2.empty()) {
      e.sum2.resize(all * n);
      e.counts.resize(all);
    }
    const auto at = static_cast<size_t>(stats.slice);
    for (size_t i = 0; i < n; ++i) e.sum2[at * n + i] = static_cast<float>(stats.sum2[i]);
    e.counts[at] = static_cast<float>(stats.rows);
  }
}

}  // namespace nibble
