#include "allocate/curve.h"

#include <algorithm>
#include <cmath>

#include "base/progress.h"

namespace nibble {
namespace {

constexpr double width = 860, height = 520, left = 80, right = 30, top = 40, bottom = 60;

/// Where sizes and divergences stand on the paper; divergences on a logarithmic scale.
class Paper {
 public:
  explicit Paper(const SearchResult& r) {
    for (const auto& [bytes, kld] : r.curve) include(bytes, kld);
    for (const Measured& m : r.uniform) include(m.bytes, m.kld.value);
    include(r.best.bytes, r.best.kld.value);
    const double margin = std::max(1.0, 0.04 * (most_ - least_));
    least_ -= margin;
    most_ += margin;
    low_ = std::floor(low_);
    high_ = std::max(low_ + 1, std::ceil(high_));
  }
  double x(double bytes) const { return left + (bytes - least_) / (most_ - least_) * (width - left - right); }
  double y(double kld) const {
    return top + (high_ - std::log10(std::max(kld, 1e-12))) / (high_ - low_) * (height - top - bottom);
  }
  double least() const { return least_; }
  double most() const { return most_; }
  int low() const { return static_cast<int>(low_); }
  int high() const { return static_cast<int>(high_); }

 private:
  void include(uint64_t bytes, double kld) {
    const auto b = static_cast<double>(bytes);
    const double k = std::log10(std::max(kld, 1e-12));
    least_ = std::min(least_, b);
    most_ = std::max(most_, b);
    low_ = std::min(low_, k);
    high_ = std::max(high_, k);
  }
  double least_ = INFINITY, most_ = -INFINITY, low_ = INFINITY, high_ = -INFINITY;
};

std::string grid(const Paper& p) {
  std::string s;
  for (int decade = p.low(); decade <= p.high(); ++decade) {
    const double y = p.y(std::pow(10.0, decade));
    s += fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='#ddd'/>\n", left, y,
                     width - right, y);
    s += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='end'>{:g}</text>\n", left - 8, y + 4,
                     std::pow(10.0, decade));
  }
  constexpr int ticks = 6;
  for (int i = 0; i <= ticks; ++i) {
    const double bytes = p.least() + (p.most() - p.least()) * i / ticks, x = p.x(bytes);
    s += fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='#eee'/>\n", x, top, x,
                     height - bottom);
    s += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>\n", x, height - bottom + 20,
                     human_bytes(bytes));
  }
  return s;
}

std::string point(const Paper& p, const Measured& m, const char* color, double radius) {
  const double x = p.x(static_cast<double>(m.bytes)), y = p.y(m.kld.value);
  return fmt::format(
      "<circle cx='{:.1f}' cy='{:.1f}' r='{}' fill='{}'><title>{}: {}, {:.6f} ± {:.6f}</title></circle>\n"
      "<text x='{:.1f}' y='{:.1f}'>{}</text>\n",
      x, y, radius, color, m.name, human_bytes(static_cast<double>(m.bytes)), m.kld.value, m.kld.error, x + 8,
      y - 6, m.name);
}

}  // namespace

std::string curve_svg(const SearchResult& result) {
  const Paper p(result);
  std::string s = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' width='{0}' height='{1}' "
      "font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n"
      "<text x='{2}' y='24' font-size='15'>Size and divergence</text>\n",
      width, height, left);
  s += grid(p);
  std::string line;
  for (const auto& [bytes, kld] : result.curve)
    line += fmt::format("{:.1f},{:.1f} ", p.x(static_cast<double>(bytes)), p.y(kld));
  s += fmt::format("<polyline points='{}' fill='none' stroke='#27c' stroke-width='2'/>\n", line);
  for (const Measured& m : result.uniform) s += point(p, m, "#888", 4);
  s += point(p, result.best, "#d22", 6);
  s += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>size of the file</text>\n", width / 2,
                   height - 14);
  s += fmt::format(
      "<text x='18' y='{0:.1f}' text-anchor='middle' transform='rotate(-90 18 {0:.1f})'>mean KL divergence, "
      "nats "
      "per token</text>\n</svg>\n",
      height / 2);
  return s;
}

std::string curve_text(const SearchResult& result) {
  std::string s = fmt::format("{:<12} {:>10} {:>22}\n", "formats", "size", "KL divergence");
  const auto line = [&](const Measured& m) {
    s += fmt::format("{:<12} {:>10} {:>22}\n", m.name, human_bytes(static_cast<double>(m.bytes)),
                     fmt::format("{:.6f} ± {:.6f}", m.kld.value, m.kld.error));
  };
  for (const Measured& m : result.uniform) line(m);
  line(result.best);
  s += "\npredicted for other sizes:\n";
  for (size_t i = 0; i < result.curve.size(); i += 3)
    s += fmt::format("{:<12} {:>10} {:>13.6f}\n", "", human_bytes(static_cast<double>(result.curve[i].first)),
                     result.curve[i].second);
  return s;
}

}  // namespace nibble
