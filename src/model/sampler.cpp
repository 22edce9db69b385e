#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace nibble {
namespace {

void require(bool fine, const char* option, double value, const char* range) {
  if (!fine) fail(ErrorKind::usage, "{} is {}, must be {}", option, value, range);
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature", options.temperature,
          "0 or more");
  require(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "0 (all) or more");
  require(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p, "above 0 and at most 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min-p", options.min_p, "between 0 and 1");
  require(options.repeat_penalty > 0 && std::isfinite(options.repeat_penalty), "repeat penalty",
          options.repeat_penalty, "above 0");
  require(options.repeat_last >= -1, "repeat-last", static_cast<double>(options.repeat_last),
          "-1 (all), 0 (none) or more");
}

void Sampler::accept(int32_t token) {
  if (options_.repeat_last == 0 || options_.repeat_penalty == 1) return;
  recent_.push_back(token);
  if (options_.repeat_last > 0 && recent_.size() > static_cast<size_t>(options_.repeat_last))
    recent_.pop_front();
}

int32_t Sampler::next(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) candidates_.push_back({static_cast<int32_t>(i), logits[i], 0});
  }
  if (candidates_.empty()) fail(ErrorKind::bad_input, "none of the {} logits is finite", logits.size());
  if (!recent_.empty()) {
    const std::set<int32_t> recent(recent_.begin(), recent_.end());
    for (Candidate& c : candidates_) {
      if (recent.count(c.id) == 0) continue;
      c.logit = c.logit > 0 ? c.logit / options_.repeat_penalty : c.logit * options_.repeat_penalty;
    }
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.temperature == 0) return std::min_element(candidates_.begin(), candidates_.end(), before)->id;

  size_t keep = candidates_.size();
  if (options_.top_k > 0) keep = std::min(keep, static_cast<size_t>(options_.top_k));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(keep),
                    candidates_.end(), before);
  candidates_.resize(keep);
  const double most = candidates_.front().logit;

  double total = 0;
  for (Candidate& c : candidates_) total += c.p = std::exp(c.logit - most);
  if (options_.top_p < 1) {
    double sum = 0;
    for (keep = 0; keep < candidates_.size() && sum < options_.top_p * total; ++keep)
      sum += candidates_[keep].p;
    candidates_.resize(std::max<size_t>(keep, 1));
  }
  while (candidates_.size() > 1 && candidates_.back().p < options_.min_p) candidates_.pop_back();

  total = 0;
  for (Candidate& c : candidates_) total += c.p = std::exp((c.logit - most) / options_.temperature);
  double left = rng_.uniform() * total;
  for (const Candidate& c : candidates_) {
    if (left < c.p) return c.id;
    left -= c.p;
  }
  return candidates_.back().id;
}

}  // namespace nibble
