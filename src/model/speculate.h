#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/executor.h"
#include "model/sampler.h"

namespace nibble {

/// Tokens that may come next, and what each was drawn from.
struct Proposal {
  std::vector<int32_t> tokens;
  std::vector<Distribution> from;  ///< one a token
};

/// Guesses how a text goes on, so that the model can check several tokens with one reading of its weights.
class Drafter {
 public:
  virtual ~Drafter() = default;
  /// At most `most` tokens that may follow `sequence`. `sampler` is what the guesses will be judged by: its
  /// options and history hold for them too.
  virtual Proposal propose(std::span<const int32_t> sequence, int64_t most, const Sampler& sampler) = 0;
};

/// What followed the last time that the text had its last few tokens (prompt lookup, Saxena 2023; Yang et
/// al., arXiv 2304.04487): the longest match of at most four tokens and at least two, of these the latest.
std::unique_ptr<Drafter> lookup_drafter();

/// A smaller model's guesses, drawn as the large model's tokens are. Program and pool must outlive it; `kv`
/// and `context` are as for Generator. Throws Error{usage} for an encoder.
std::unique_ptr<Drafter> model_drafter(const Program& program, ThreadPool& pool, int64_t context,
                                       std::string_view kv, uint64_t seed);

}  // namespace nibble
