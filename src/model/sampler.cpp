#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

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

double Distribution::of(int32_t id) const {
  for (const Choice& c : choices) {
    if (c.id == id) return c.weight / total;
  }
  return 0;
}

Distribution Sampler::distribution(std::span<const float> logits) {
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
  if (options_.temperature == 0)
    return Distribution::certain(std::min_element(candidates_.begin(), candidates_.end(), before)->id);

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

  Distribution all{{}, 0};
  for (const Candidate& c : candidates_) {
    all.choices.push_back({c.id, std::exp((c.logit - most) / options_.temperature)});
    all.total += all.choices.back().weight;
  }
  return all;
}

int32_t Sampler::draw(const Distribution& p) {
  if (p.choices.size() == 1) return p.choices[0].id;
  double left = rng_.uniform() * p.total;
  for (const Distribution::Choice& c : p.choices) {
    if (left < c.weight) return c.id;
    left -= c.weight;
  }
  return p.choices.back().id;
}

Sampler::Verdict Sampler::judge(const Distribution& p, int32_t proposed, const Distribution& q) {
  const double have = p.of(proposed), was = q.of(proposed);
  if (have >= was || rng_.uniform() * was < have) return {proposed, true};
  // What p has more of than q: of the proposed token, nothing.
  std::unordered_map<int32_t, double> taken;
  for (const Distribution::Choice& c : q.choices) taken[c.id] += c.weight / q.total;
  Distribution rest{{}, 0};
  for (const Distribution::Choice& c : p.choices) {
    const auto found = taken.find(c.id);
    const double more = c.weight / p.total - (found == taken.end() ? 0 : found->second);
    if (more <= 0) continue;
    rest.choices.push_back({c.id, more});
    rest.total += more;
  }
  return {rest.choices.empty() ? p.choices[0].id : draw(rest), false};
}

Sampler Sampler::fork(uint64_t seed) const {
  Sampler other = *this;
  other.rng_ = Rng(seed);
  return other;
}

}  // namespace nibble
