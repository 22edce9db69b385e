#include "calibrate/range_rule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include "base/error.h"
#include "formats/histogram.h"

namespace nibble {
namespace {

constexpr std::pair<std::string_view, RangeRule::Kind> names[] = {{"minmax", RangeRule::Kind::minmax},
                                                                  {"momentum", RangeRule::Kind::momentum},
                                                                  {"percentile", RangeRule::Kind::percentile},
                                                                  {"std", RangeRule::Kind::deviation},
                                                                  {"mse", RangeRule::Kind::mse},
                                                                  {"entropy", RangeRule::Kind::entropy}};

bool has_value(RangeRule::Kind kind) {
  return kind == RangeRule::Kind::percentile || kind == RangeRule::Kind::deviation;
}

[[noreturn]] void no_rule(std::string_view word) {
  throw Error(ErrorKind::usage, fmt::format("'{}' is no rule for ranges", word),
              "there are minmax, momentum, percentile=99.9, std=6, mse and entropy");
}

/// What was seen, ascending: values and how often.
struct Seen {
  std::span<const float> x, count;
  double total = 0;
};

/// The same in at most 2048 equal bins on either side of zero: finer ones would hold single values.
struct Coarse {
  explicit Coarse(const Seen& seen) {
    float most = 0;
    for (const float v : seen.x) most = std::max(most, std::fabs(v));
    const float width = most / 2048;
    float last = HUGE_VALF;
    for (size_t i = 0; i < seen.x.size(); ++i) {
      const float bin = width > 0 ? std::floor(seen.x[i] / width) : 0;
      if (bin == last) {
        count.back() += seen.count[i];
        continue;
      }
      x.push_back((bin + 0.5f) * width);
      count.push_back(seen.count[i]);
      last = bin;
    }
  }
  std::vector<float> x, count;
};

/// The value below which `share` of what was seen lies.
float quantile(const Seen& seen, double share) {
  double below = 0;
  for (size_t i = 0; i < seen.x.size(); ++i) {
    below += seen.count[i];
    if (below >= share * seen.total) return seen.x[i];
  }
  return seen.x.back();
}

/// [low, high] around zero, of which whole numbers make equal steps.
struct Grid {
  float step = 0;
  int lowest = 0, highest = 0;

  float rounded(float x) const {
    return std::clamp(std::nearbyint(x / step), static_cast<float>(lowest), static_cast<float>(highest)) *
           step;
  }
};

Grid grid_of(InputRange r, int bits, bool asymmetric) {
  const int levels = (1 << bits) - 1;
  Grid g;
  if (!asymmetric) {
    g.highest = levels / 2;
    g.lowest = -g.highest;
    g.step = std::max(-r.low, r.high) / static_cast<float>(g.highest);
  } else {
    g.step = (r.high - r.low) / static_cast<float>(levels);
    g.lowest = g.step > 0 ? static_cast<int>(std::nearbyint(r.low / g.step)) : 0;
    g.highest = g.lowest + levels;
  }
  return g;
}

double squared_error(const Seen& seen, const Grid& g) {
  double sum = 0;
  for (size_t i = 0; i < seen.x.size(); ++i) {
    const double e = double{seen.x[i]} - double{g.rounded(seen.x[i])};
    sum += e * e * double{seen.count[i]};
  }
  return sum;
}

/// KL divergence of what was seen, all that is clipped counted at the ends, from what its rounding keeps of
/// it: the mass of each level spread over the values that fall to it, as seen.
double entropy_loss(const Seen& seen, const Grid& g) {
  const auto level = [&](float x) { return static_cast<int>(std::nearbyint(g.rounded(x) / g.step)); };
  const float low = static_cast<float>(g.lowest) * g.step, high = static_cast<float>(g.highest) * g.step;
  double loss = 0, inside = 0;
  for (size_t i = 0; i < seen.x.size(); ++i)
    if (seen.x[i] >= low && seen.x[i] <= high) inside += double{seen.count[i]};
  if (inside <= 0) return HUGE_VAL;
  for (size_t first = 0; first < seen.x.size();) {
    // One level: bins [first, end), of which [from, to) lie within the range.
    size_t end = first, from = seen.x.size(), to = 0;
    double mass = 0, clipped = 0;
    for (const int at = level(seen.x[first]); end < seen.x.size() && level(seen.x[end]) == at; ++end) {
      if (seen.x[end] >= low && seen.x[end] <= high) {
        mass += double{seen.count[end]};
        from = std::min(from, end);
        to = end + 1;
      } else {
        clipped += double{seen.count[end]};
      }
    }
    if (to > from) {
      // Clipped values pile up on the outermost bin that is kept.
      const size_t edge = level(seen.x[first]) < 0 ? from : to - 1;
      const double each = mass / static_cast<double>(to - from) / inside;
      for (size_t i = from; i < to; ++i) {
        const double p = (double{seen.count[i]} + (i == edge ? clipped : 0)) / seen.total;
        if (p > 0) loss += p * std::log(p / each);
      }
    } else {
      // Nothing of the level lies within the range: counted as if it had been seen there once.
      loss += clipped / seen.total * std::log(std::max(clipped, 1.0));
    }
    first = end;
  }
  return loss;
}

/// The best of ranges that shrink from all that was seen, by a loss.
template <class Loss>
InputRange search(InputRange all, int bits, bool asymmetric, Loss&& loss) {
  InputRange best = all;
  double least = HUGE_VAL;
  constexpr int candidates = 96;
  for (int i = 0; i < candidates; ++i) {
    // Evenly in the logarithm: from all down to a hundredth.
    const auto share = static_cast<float>(std::pow(0.01, static_cast<double>(i) / (candidates - 1)));
    const InputRange r{all.low * share, all.high * share};
    const double l = loss(grid_of(r, bits, asymmetric));
    if (l < least) {
      least = l;
      best = r;
    }
  }
  return best;
}

}  // namespace

RangeRule RangeRule::parse(std::string_view word) {
  const size_t at = word.find('=');
  for (const auto& [name, kind] : names) {
    if (word.substr(0, at) != name) continue;
    RangeRule rule{kind, 0};
    if (has_value(kind) != (at != std::string_view::npos)) no_rule(word);
    if (at == std::string_view::npos) return rule;
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data() + at + 1, end, rule.value);
    const bool good = error == std::errc{} && stop == end && std::isfinite(rule.value) && rule.value > 0;
    if (!good || (kind == Kind::percentile && rule.value > 100)) no_rule(word);
    return rule;
  }
  no_rule(word);
}

std::string RangeRule::to_string() const {
  for (const auto& [name, k] : names) {
    if (k == kind) return has_value(kind) ? fmt::format("{}={}", name, value) : std::string(name);
  }
  return {};
}

bool RangeRule::wants_histogram() const noexcept {
  return kind == Kind::percentile || kind == Kind::mse || kind == Kind::entropy;
}

InputRange find_range(const RangeRule& rule, const InputStats& s, int bits, bool asymmetric) {
  if (s.rows == 0 || s.min.empty()) fail(ErrorKind::bad_input, "nothing was seen of this input");
  const InputRange all{std::min(0.0f, *std::min_element(s.min.begin(), s.min.end())),
                       std::max(0.0f, *std::max_element(s.max.begin(), s.max.end()))};
  if (rule.wants_histogram() && s.values.x.empty()) {
    throw Error(ErrorKind::bad_input,
                fmt::format("the rule '{}' needs the distribution of the inputs, and none was collected",
                            rule.to_string()),
                "collect it with nibble calibrate --histogram");
  }
  Seen seen{s.values.x, s.values.weight, 0};
  for (const float c : seen.count) seen.total += double{c};
  switch (rule.kind) {
    case RangeRule::Kind::minmax:
      break;
    case RangeRule::Kind::momentum:
      return {std::min(0.0f, s.running_low), std::max(0.0f, s.running_high)};
    case RangeRule::Kind::percentile: {
      const double tail = (100 - rule.value) / 200;
      return {std::min(0.0f, quantile(seen, tail)), std::max(0.0f, quantile(seen, 1 - tail))};
    }
    case RangeRule::Kind::deviation: {
      double sum = 0, sum2 = 0;
      for (size_t c = 0; c < s.sum.size(); ++c) {
        sum += s.sum[c];
        sum2 += s.sum2[c];
      }
      const double n = static_cast<double>(s.rows) * static_cast<double>(s.cols), mean = sum / n;
      const double wide = rule.value * std::sqrt(std::max(0.0, sum2 / n - mean * mean));
      return {std::clamp(static_cast<float>(mean - wide), all.low, 0.0f),
              std::clamp(static_cast<float>(mean + wide), 0.0f, all.high)};
    }
    case RangeRule::Kind::mse:
      return search(all, bits, asymmetric, [&](const Grid& g) { return squared_error(seen, g); });
    case RangeRule::Kind::entropy: {
      const Coarse coarse(seen);
      const Seen bins{coarse.x, coarse.count, seen.total};
      return search(all, bits, asymmetric, [&](const Grid& g) { return entropy_loss(bins, g); });
    }
  }
  return all;
}

}  // namespace nibble
