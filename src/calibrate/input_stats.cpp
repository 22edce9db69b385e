#include "calibrate/input_stats.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/matmul.h"

namespace nibble {
namespace {

constexpr int64_t strip = 64;  ///< columns of X that stand close together

/// X [rows, cols] as strips of columns: strip s holds rows x 64 floats, the last one padded with zeros.
std::vector<float> cut_strips(const Value& x) {
  const int64_t strips = (x.cols + strip - 1) / strip;
  std::vector<float> cut(static_cast<size_t>(strips * x.rows * strip));
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t from = s * strip, n = std::min(strip, x.cols - from);
    for (int64_t r = 0; r < x.rows; ++r)
      std::copy_n(x.row(r) + from, n, cut.data() + (s * x.rows + r) * strip);
  }
  return cut;
}

/// The upper triangle of XᵀX, a square of 64 x 64 at a time.
void add_products(std::vector<float>& hessian, const Value& x, ThreadPool& pool) {
  const int64_t n = x.cols, strips = (n + strip - 1) / strip;
  const std::vector<float> cut = cut_strips(x);
  const CpuKernels& kernels = cpu_kernels();
  pool.parallel_for(static_cast<size_t>(strips), [&](size_t index) {
    // Long rows of squares first, so that the threads end together.
    const auto i = static_cast<int64_t>(index);
    const float* left = cut.data() + i * x.rows * strip;
    std::vector<float> turned(static_cast<size_t>(strip * x.rows)), sum(static_cast<size_t>(strip * strip));
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < strip; ++c) turned[static_cast<size_t>(c * x.rows + r)] = left[r * strip + c];
    }
    for (int64_t j = i; j < strips; ++j) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      kernels.weighted_sum({turned.data(), strip, x.rows, cut.data() + j * x.rows * strip, x.rows, strip,
                            strip, sum.data(), strip});
      const int64_t rows = std::min(strip, n - i * strip), cols = std::min(strip, n - j * strip);
      for (int64_t r = 0; r < rows; ++r) {
        float* h = hessian.data() + (i * strip + r) * n + j * strip;
        for (int64_t c = 0; c < cols; ++c) h[c] += sum[static_cast<size_t>(r * strip + c)];
      }
    }
  });
}

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

/// One step of the running averages.
void see_range(InputStats& stats, const Value& x) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto [least, most] = std::minmax_element(x.row(r), x.row(r) + x.cols);
    low = std::min(low, *least);
    high = std::max(high, *most);
  }
  if (x.rows == 0) return;
  const float weight = stats.rows == 0 ? 1.0f : InputStats::momentum;
  stats.running_low += (low - stats.running_low) * weight;
  stats.running_high += (high - stats.running_high) * weight;
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
    if (collect.hessian) stats.hessian.assign(n * n, 0.0f);
    if (collect.histogram) stats.histogram.resize(1);
  }
  if (stats.cols != x.cols) fail(ErrorKind::internal, "an input of {} columns had {}", x.cols, stats.cols);
  parallel_ranges(pool, x.cols, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < x.rows; ++r) {
      const float* row = x.row(r);
      for (int64_t c = begin; c < end; ++c) {
        const auto at = static_cast<size_t>(c);
        const double v = row[c];
        stats.sum[at] += v;
        stats.sum2[at] += v * v;
        stats.min[at] = std::min(stats.min[at], row[c]);
        stats.max[at] = std::max(stats.max[at], row[c]);
      }
    }
  });
  double total = 0;
  for (const double v : stats.sum2) total += v;
  if (!std::isfinite(total)) require_finite(stats, x);
  see_range(stats, x);
  stats.rows += x.rows;
  if (collect.histogram) {
    for (int64_t r = 0; r < x.rows; ++r) stats.histogram.front().add({x.row(r), n});
  }
  if (collect.hessian) add_products(stats.hessian, x, pool);
}

void finish_stats(InputStats& stats) {
  if (!stats.histogram.empty()) {
    stats.values = stats.histogram.front().points();
    stats.histogram.clear();
  }
  if (stats.hessian.empty()) return;
  const auto n = static_cast<size_t>(stats.cols);
  constexpr size_t tile = 64;
  for (size_t a = 0; a < n; a += tile) {
    for (size_t b = 0; b <= a; b += tile) {
      for (size_t i = a; i < std::min(n, a + tile); ++i) {
        for (size_t j = b; j < std::min(i, b + tile); ++j)
          stats.hessian[i * n + j] = stats.hessian[j * n + i];
      }
    }
  }
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
