#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace nibble {
namespace {

/// Mean and the standard error of it.
Estimate mean_of(const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  if (x.empty()) return {};
  double sum = 0;
  for (const double v : x) sum += v;
  const double mean = sum / n;
  double squares = 0;
  for (const double v : x) squares += (v - mean) * (v - mean);
  return {mean, x.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

Estimate exponential(const Estimate& e) {
  const double value = std::exp(e.value);
  return {value, value * e.error};
}

}  // namespace

TokenScore score_row(std::span<const float> logits, int32_t right, std::vector<double>* log_p) {
  size_t top = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[top]) top = i;
  }
  const double largest = logits[top];
  double sum = 0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - largest);
  if (!std::isfinite(sum)) fail(ErrorKind::bad_input, "the model computes logits that are not finite");
  const double log_sum = largest + std::log(sum);
  if (log_p != nullptr) {
    log_p->resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) (*log_p)[i] = static_cast<double>(logits[i]) - log_sum;
  }
  if (right < 0 || static_cast<size_t>(right) >= logits.size())
    fail(ErrorKind::bad_input, "token {} is outside of the model's vocabulary", right);
  return {static_cast<double>(logits[static_cast<size_t>(right)]) - log_sum, static_cast<int32_t>(top)};
}

void Divergence::add(std::span<const float> logits, int32_t right) {
  nll_.push_back(-score_row(logits, right).log_p);
}

void Divergence::add(std::span<const float> logits, std::span<const float> reference, int32_t right) {
  if (logits.size() != reference.size()) {
    fail(ErrorKind::bad_input, "the models have {} and {} tokens; they cannot be compared", logits.size(),
         reference.size());
  }
  const TokenScore q = score_row(logits, right, &log_q_);
  const TokenScore p = score_row(reference, right, &log_p_);
  double kl = 0;
  for (size_t i = 0; i < log_p_.size(); ++i) kl += std::exp(log_p_[i]) * (log_p_[i] - log_q_[i]);
  nll_.push_back(-q.log_p);
  nll_reference_.push_back(-p.log_p);
  kl_.push_back(std::max(kl, 0.0));  // rounding may bring a zero below zero
  delta_p_.push_back(std::exp(q.log_p) - std::exp(p.log_p));
  same_ += q.top == p.top;
}

Estimate Divergence::perplexity() const { return exponential(mean_of(nll_)); }
Estimate Divergence::reference_perplexity() const { return exponential(mean_of(nll_reference_)); }

Estimate Divergence::perplexity_ratio() const {
  std::vector<double> difference(nll_.size());
  for (size_t i = 0; i < nll_.size(); ++i) difference[i] = nll_[i] - nll_reference_[i];
  return exponential(mean_of(difference));
}

Estimate Divergence::mean_kl() const { return mean_of(kl_); }

Estimate Divergence::kl_quantile(double q) const {
  if (kl_.empty()) return {};
  std::vector<double> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  const auto at = [&](double rank) { return sorted[static_cast<size_t>(std::clamp(rank, 0.0, n - 1))]; };
  const double spread = std::sqrt(n * q * (1 - q));  // standard deviation of the rank
  return {at(q * n), (at(q * n + spread) - at(q * n - spread)) / 2};
}

double Divergence::max_kl() const { return kl_.empty() ? 0 : *std::max_element(kl_.begin(), kl_.end()); }

Estimate Divergence::same_top() const {
  const auto n = static_cast<double>(kl_.size());
  if (kl_.empty()) return {};
  const double share = static_cast<double>(same_) / n;
  return {share, std::sqrt(share * (1 - share) / n)};
}

Estimate Divergence::mean_delta_p() const { return mean_of(delta_p_); }

Estimate Divergence::rms_delta_p() const {
  std::vector<double> squares(delta_p_.size());
  for (size_t i = 0; i < squares.size(); ++i) squares[i] = delta_p_[i] * delta_p_[i];
  const Estimate mean = mean_of(squares);
  const double root = std::sqrt(mean.value);
  return {root, root > 0 ? mean.error / (2 * root) : 0};
}

}  // namespace nibble
