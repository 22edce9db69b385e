#include "allocate/choose.h"

#include <algorithm>
#include <numeric>

namespace nibble {
namespace {

size_t smallest(const std::vector<Choice>& c) {
  return static_cast<size_t>(std::min_element(c.begin(), c.end(),
                                              [](const Choice& a, const Choice& b) {
                                                return a.bytes != b.bytes ? a.bytes < b.bytes
                                                                          : a.loss < b.loss;
                                              }) -
                             c.begin());
}

/// Choices that are the best for some price of a byte, from the smallest to the largest.
std::vector<size_t> hull(const std::vector<Choice>& c) {
  std::vector<size_t> order(c.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return c[a].bytes != c[b].bytes ? c[a].bytes < c[b].bytes : c[a].loss < c[b].loss;
  });
  const auto slope = [&](size_t a, size_t b) {
    return (c[a].loss - c[b].loss) / static_cast<double>(c[b].bytes - c[a].bytes);
  };
  std::vector<size_t> kept;
  for (const size_t i : order) {
    if (!kept.empty() && (c[i].bytes == c[kept.back()].bytes || c[i].loss >= c[kept.back()].loss)) continue;
    while (kept.size() >= 2 && slope(kept[kept.size() - 2], kept.back()) <= slope(kept.back(), i))
      kept.pop_back();
    kept.push_back(i);
  }
  return kept;
}

struct Step {
  size_t tensor, to;
  double gain;  ///< loss saved per byte
};

class Chooser {
 public:
  Chooser(std::span<const std::vector<Choice>> tensors, uint64_t budget) : tensors_(tensors), left_(budget) {
    for (const auto& t : tensors) picked_.push_back(smallest(t));
  }

  std::vector<size_t> run() {
    const uint64_t least = bytes_of(tensors_, picked_);
    if (least > left_) return {};
    left_ -= least;
    along_hulls();
    while (single_change() || exchange()) {
    }
    return picked_;
  }

 private:
  const Choice& now(size_t t) const { return tensors_[t][picked_[t]]; }
  int64_t cost(size_t t, size_t to) const {
    return static_cast<int64_t>(tensors_[t][to].bytes) - static_cast<int64_t>(now(t).bytes);
  }
  double saved(size_t t, size_t to) const { return now(t).loss - tensors_[t][to].loss; }
  void take(size_t t, size_t to) {
    left_ = static_cast<uint64_t>(static_cast<int64_t>(left_) - cost(t, to));
    picked_[t] = to;
  }

  void along_hulls() {
    std::vector<Step> steps;
    for (size_t t = 0; t < tensors_.size(); ++t) {
      const std::vector<size_t> h = hull(tensors_[t]);
      for (size_t i = 1; i < h.size(); ++i) {
        const Choice &a = tensors_[t][h[i - 1]], &b = tensors_[t][h[i]];
        steps.push_back({t, h[i], (a.loss - b.loss) / static_cast<double>(b.bytes - a.bytes)});
      }
    }
    std::stable_sort(steps.begin(), steps.end(),
                     [](const Step& a, const Step& b) { return a.gain > b.gain; });
    std::vector<bool> stuck(tensors_.size(), false);
    for (const Step& s : steps) {
      if (stuck[s.tensor]) continue;
      if (cost(s.tensor, s.to) <= static_cast<int64_t>(left_))
        take(s.tensor, s.to);
      else
        stuck[s.tensor] = true;
    }
  }

  bool single_change() {
    double best = 0;
    size_t tensor = 0, choice = 0;
    for (size_t t = 0; t < tensors_.size(); ++t) {
      for (size_t to = 0; to < tensors_[t].size(); ++to) {
        if (cost(t, to) > static_cast<int64_t>(left_) || !(saved(t, to) > best)) continue;
        best = saved(t, to);
        tensor = t;
        choice = to;
      }
    }
    if (!(best > 0)) return false;
    take(tensor, choice);
    return true;
  }

  /// One tensor gives bytes, another one takes them.
  bool exchange() {
    double best = 1e-12;
    size_t from[2] = {}, to[2] = {};
    for (size_t a = 0; a < tensors_.size(); ++a) {
      for (size_t x = 0; x < tensors_[a].size(); ++x) {
        if (cost(a, x) >= 0) continue;
        const int64_t room = static_cast<int64_t>(left_) - cost(a, x);
        for (size_t b = 0; b < tensors_.size(); ++b) {
          if (b == a) continue;
          for (size_t y = 0; y < tensors_[b].size(); ++y) {
            if (cost(b, y) > room || !(saved(a, x) + saved(b, y) > best)) continue;
            best = saved(a, x) + saved(b, y);
            from[0] = a;
            to[0] = x;
            from[1] = b;
            to[1] = y;
          }
        }
      }
    }
    if (from[0] == from[1]) return false;
    take(from[0], to[0]);
    take(from[1], to[1]);
    return true;
  }

  std::span<const std::vector<Choice>> tensors_;
  uint64_t left_;
  std::vector<size_t> picked_;
};

}  // namespace

std::vector<size_t> choose_within(std::span<const std::vector<Choice>> tensors, uint64_t budget) {
  return Chooser(tensors, budget).run();
}

uint64_t least_bytes(std::span<const std::vector<Choice>> tensors) {
  uint64_t sum = 0;
  for (const auto& t : tensors) sum += t[smallest(t)].bytes;
  return sum;
}

uint64_t most_bytes(std::span<const std::vector<Choice>> tensors) {
  uint64_t sum = 0;
  for (const auto& t : tensors) sum += t[hull(t).back()].bytes;
  return sum;
}

double loss_of(std::span<const std::vector<Choice>> tensors, std::span<const size_t> picked) {
  double sum = 0;
  for (size_t t = 0; t < tensors.size(); ++t) sum += tensors[t][picked[t]].loss;
  return sum;
}

uint64_t bytes_of(std::span<const std::vector<Choice>> tensors, std::span<const size_t> picked) {
  uint64_t sum = 0;
  for (size_t t = 0; t < tensors.size(); ++t) sum += tensors[t][picked[t]].bytes;
  return sum;
}

}  // namespace nibble
