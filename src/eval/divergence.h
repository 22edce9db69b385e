#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

/// A figure with the standard error of its estimate.
struct Estimate {
  double value = 0;
  double error = 0;
};

/// What one model says of one token: natural logarithms.
struct TokenScore {
  double log_p = 0;  ///< of the right token
  int32_t top = 0;   ///< most likely token (the lowest id among equals)
};

/// Log-softmax of one row of logits, in double. Throws Error{bad_input} if a logit is not finite.
TokenScore score_row(std::span<const float> logits, int32_t right, std::vector<double>* log_p = nullptr);

/// Collects scores of the tokens of a text, of a model alone or beside a reference.
class Divergence {
 public:
  /// A row of the model alone.
  void add(std::span<const float> logits, int32_t right);
  /// A row of the model beside the reference's logits for the same place.
  void add(std::span<const float> logits, std::span<const float> reference, int32_t right);

  int64_t tokens() const noexcept { return static_cast<int64_t>(nll_.size()); }
  /// KL(reference || model) of every token, in the order they were added.
  std::span<const double> kl() const noexcept { return kl_; }
  bool compared() const noexcept { return !kl_.empty(); }

  /// exp of the mean negative log-likelihood per token; the error is the value times the mean's standard
  /// error.
  Estimate perplexity() const;
  Estimate reference_perplexity() const;
  Estimate perplexity_ratio() const;  ///< model / reference, with the error of the paired difference
  /// KL(reference || model) in nats per token.
  Estimate mean_kl() const;
  /// Quantile in (0, 1); the error from the spread of neighbouring order statistics.
  Estimate kl_quantile(double q) const;
  double max_kl() const;
  Estimate same_top() const;      ///< share of places where both favour the same token
  Estimate mean_delta_p() const;  ///< probability of the right token, model minus reference
  Estimate rms_delta_p() const;

 private:
  std::vector<double> nll_, nll_reference_, kl_, delta_p_;
  int64_t same_ = 0;
  std::vector<double> log_p_, log_q_;  // scratch of one row
};

}  // namespace nibble
