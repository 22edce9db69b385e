#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/rng.h"

namespace nibble {

/// How the next token is chosen. Applied in this order (llama.cpp's): repeat penalty, top-k, top-p, min-p,
/// temperature, draw. Temperature 0 takes the most likely token after the penalty.
struct SamplingOptions {
  double temperature = 0.8;
  int64_t top_k = 40;         ///< keep the k most likely tokens; 0: all
  double top_p = 0.95;        ///< keep the fewest tokens whose probabilities reach p; 1: all
  double min_p = 0.05;        ///< keep tokens at least this likely relative to the first; 0: all
  double repeat_penalty = 1;  ///< logits of recent tokens are divided by it (multiplied where negative)
  int64_t repeat_last = 64;   ///< how many tokens count as recent; 0: none, -1: all
  uint64_t seed = 0;
};

/// Tokens that may come next, the likeliest first, with weights that are probabilities times `total`.
struct Distribution {
  struct Choice {
    int32_t id = 0;
    double weight = 1;
  };
  std::vector<Choice> choices;
  double total = 1;

  /// One token for certain.
  static Distribution certain(int32_t id) { return {{{id, 1}}, 1}; }
  /// Probability of a token.
  double of(int32_t id) const;
};

/// Draws tokens. The same seed, logits and history give the same tokens.
class Sampler {
 public:
  /// Throws Error{usage} naming an option outside of its range.
  explicit Sampler(const SamplingOptions& options);

  /// The next token. Equal logits count as ordered by id. Throws Error{bad_input} if no logit is finite.
  int32_t next(std::span<const float> logits) { return draw(distribution(logits)); }
  /// What `next` draws from. Throws likewise.
  Distribution distribution(std::span<const float> logits);
  /// Draws; a distribution of one token takes no random number.
  int32_t draw(const Distribution& p);

  struct Verdict {
    int32_t token;  ///< distributed as p, whatever was proposed
    bool accepted;  ///< it is the proposed one
  };
  /// Takes a token that was drawn from q, or another one instead, so that the result is distributed as p:
  /// speculative sampling (Leviathan et al., arXiv 2211.17192; Chen et al., arXiv 2302.01318).
  Verdict judge(const Distribution& p, int32_t proposed, const Distribution& q);

  /// Adds a token to the history that the repeat penalty looks at: prompt tokens and drawn ones.
  void accept(int32_t token);

  /// The same options and history, other random numbers.
  Sampler fork(uint64_t seed) const;

 private:
  struct Candidate {
    int32_t id;
    double logit;
    double p;
  };
  SamplingOptions options_;
  Rng rng_;
  std::deque<int32_t> recent_;
  std::vector<Candidate> candidates_;
};

}  // namespace nibble
