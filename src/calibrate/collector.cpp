#include "calibrate/collector.h"

#include <algorithm>
#include <utility>

namespace nibble {

void Collector::begin_sequence() {
  values_.clear();
  std::fill(seen_.begin(), seen_.end(), false);
}

void Collector::see(const Node& node, const Weight& weight, int64_t slice, const Value& x) {
  const auto known = index_.find(std::tuple(weight.name, slice));
  size_t at;
  if (known != index_.end()) {
    at = known->second;
  } else {
    // A matrix not seen before: it shares the statistics of a value that another one read just now.
    const auto value = std::tuple(node.in.front(), static_cast<const float*>(x.data), slice);
    if (const auto same = values_.find(value); same != values_.end()) {
      at = same->second;
    } else {
      at = stats_.size();
      stats_.emplace_back();
      stats_.back().slice = slice;
      seen_.push_back(false);
      values_[value] = at;
    }
    stats_[at].readers.push_back(weight.name);
    index_[{weight.name, slice}] = at;
  }
  // Once a sequence, however many matrices (or parts of one) read the value.
  if (seen_[at]) return;
  seen_[at] = true;
  add_rows(stats_[at], x, collect_, pool_);
}

std::vector<InputStats> Collector::take() {
  for (InputStats& s : stats_) finish_stats(s, pool_);
  seen_.clear();
  index_.clear();
  values_.clear();
  return std::exchange(stats_, {});
}

}  // namespace nibble
