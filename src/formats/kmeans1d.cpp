#include "formats/kmeans1d.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace nibble {
namespace {

struct Point {
  double x, weight;
};

std::vector<Point> sorted_points(std::span<const float> x, std::span<const float> weight) {
  std::vector<Point> all;
  all.reserve(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = weight.empty() ? 1.0 : static_cast<double>(weight[i]);
    if (w > 0 && std::isfinite(w)) all.push_back({static_cast<double>(x[i]), w});
  }
  if (all.empty() && !weight.empty()) return sorted_points(x, {});
  std::sort(all.begin(), all.end(),
            [](const Point& a, const Point& b) { return a.x < b.x || (a.x == b.x && a.weight < b.weight); });
  size_t kept = 0;
  for (const Point& p : all) {
    if (kept > 0 && all[kept - 1].x == p.x) {
      all[kept - 1].weight += p.weight;
    } else {
      all[kept++] = p;
    }
  }
  all.resize(kept);
  return all;
}

/// Sums over ranges of sorted points, taken from their mean so that differences of squares stay exact enough.
class Ranges {
 public:
  explicit Ranges(const std::vector<Point>& p) : w_(p.size() + 1), wx_(p.size() + 1), wxx_(p.size() + 1) {
    double weight = 0, sum = 0;
    for (const Point& q : p) {
      weight += q.weight;
      sum += q.weight * q.x;
    }
    origin_ = sum / weight;
    for (size_t i = 0; i < p.size(); ++i) {
      const double x = p[i].x - origin_;
      w_[i + 1] = w_[i] + p[i].weight;
      wx_[i + 1] = wx_[i] + p[i].weight * x;
      wxx_[i + 1] = wxx_[i] + p[i].weight * x * x;
    }
  }
  /// Squared distance of points [from, to) to their centre.
  double cost(size_t from, size_t to) const {
    const double w = w_[to] - w_[from];
    const double wx = wx_[to] - wx_[from];
    return std::max(0.0, wxx_[to] - wxx_[from] - wx * wx / w);
  }
  double centre(size_t from, size_t to) const {
    return origin_ + (wx_[to] - wx_[from]) / (w_[to] - w_[from]);
  }

 private:
  std::vector<double> w_, wx_, wxx_;
  double origin_ = 0;
};

/// One layer of the dynamic program: the best last cluster for every prefix, by divide and conquer (the best
/// start of the last cluster never moves back as the prefix grows).
class Layer {
 public:
  Layer(const Ranges& ranges, const std::vector<double>& before, std::vector<double>& after,
        std::vector<int32_t>& start)
      : ranges_(ranges), before_(before), after_(after), start_(start) {}

  void solve(size_t low, size_t high, size_t first,
             size_t last) {  // prefixes [low, high], starts [first, last]
    const size_t middle = (low + high) / 2;
    double best = std::numeric_limits<double>::infinity();
    size_t at = first;
    for (size_t s = first; s <= std::min(last, middle - 1); ++s) {
      const double c = before_[s] + ranges_.cost(s, middle);
      if (c < best) {
        best = c;
        at = s;
      }
    }
    after_[middle] = best;
    start_[middle] = static_cast<int32_t>(at);
    if (low < middle) solve(low, middle - 1, first, at);
    if (middle < high) solve(middle + 1, high, at, last);
  }

 private:
  const Ranges& ranges_;
  const std::vector<double>& before_;
  std::vector<double>& after_;
  std::vector<int32_t>& start_;
};

std::vector<double> optimal_centres(const std::vector<Point>& p, int k) {
  const size_t n = p.size();
  const Ranges ranges(p);
  std::vector<double> before(n + 1, std::numeric_limits<double>::infinity()), after(n + 1);
  std::vector<std::vector<int32_t>> start(static_cast<size_t>(k), std::vector<int32_t>(n + 1));
  for (size_t j = 1; j <= n; ++j) before[j] = ranges.cost(0, j);
  for (size_t c = 1; c < static_cast<size_t>(k); ++c) {
    std::fill(after.begin(), after.end(), std::numeric_limits<double>::infinity());
    Layer(ranges, before, after, start[c]).solve(c + 1, n, c, n - 1);
    before.swap(after);
  }
  std::vector<double> centres(static_cast<size_t>(k));
  size_t end = n;
  for (size_t c = static_cast<size_t>(k); c-- > 0;) {
    const auto begin = c == 0 ? size_t{0} : static_cast<size_t>(start[c][end]);
    centres[c] = ranges.centre(begin, end);
    end = begin;
  }
  return centres;
}

// At most `cells` points that stand for all of them.
std::vector<Point> merged(const std::vector<Point>& p, size_t cells) {
  std::vector<double> measure(p.size());  // integral of the cube root of the density up to each point
  double total = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double gap = 0.5 * (p[std::min(i + 1, p.size() - 1)].x - p[i == 0 ? 0 : i - 1].x);
    total += std::cbrt(p[i].weight * gap * gap);
    measure[i] = total;
  }
  std::vector<Point> out;
  size_t cell = cells;  // no cell yet
  for (size_t i = 0; i < p.size(); ++i) {
    const double share = (measure[i] - 0.5 * (measure[i] - (i == 0 ? 0 : measure[i - 1]))) / total;
    const size_t at = std::min(cells - 1, static_cast<size_t>(share * static_cast<double>(cells)));
    if (out.empty() || at != cell) out.push_back({0, 0});
    cell = at;
    out.back().x += p[i].weight * p[i].x;
    out.back().weight += p[i].weight;
  }
  for (Point& q : out) q.x /= q.weight;
  return out;
}

void refine(const std::vector<Point>& p, std::vector<double>& centres) {
  const Ranges ranges(p);
  std::vector<size_t> borders(centres.size() + 1, 0), old;
  borders.back() = p.size();
  for (int round = 0; round < 200 && borders != old; ++round) {
    old = borders;
    for (size_t c = 1; c < centres.size(); ++c) {
      const double middle = 0.5 * (centres[c - 1] + centres[c]);
      const auto at =
          std::upper_bound(p.begin(), p.end(), middle, [](double m, const Point& q) { return m < q.x; });
      borders[c] = static_cast<size_t>(at - p.begin());
    }
    for (size_t c = 0; c < centres.size(); ++c) {
      if (borders[c] < borders[c + 1]) centres[c] = ranges.centre(borders[c], borders[c + 1]);
    }
  }
}

}  // namespace

std::vector<float> kmeans_1d(std::span<const float> x, std::span<const float> weight, int k,
                             int exact_points) {
  const auto count = static_cast<size_t>(k);
  const std::vector<Point> points = sorted_points(x, weight);
  std::vector<double> centres;
  if (points.size() <= count) {
    for (const Point& p : points) centres.push_back(p.x);
    centres.resize(count, centres.empty() ? 0.0 : centres.back());
  } else if (points.size() <= static_cast<size_t>(exact_points)) {
    centres = optimal_centres(points, k);
  } else {
    const auto cells = merged(points, std::max(count, static_cast<size_t>(exact_points)));
    if (cells.size() > count) {
      centres = optimal_centres(cells, k);
    } else {
      for (const Point& p : cells) centres.push_back(p.x);
      // Cells may be fewer than asked for where points stand far apart: fill up with ends of the data.
      while (centres.size() < count)
        centres.push_back(points[points.size() - 1 - (count - centres.size())].x);
      std::sort(centres.begin(), centres.end());
    }
    refine(points, centres);
  }
  std::vector<float> out(centres.begin(), centres.end());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace nibble
