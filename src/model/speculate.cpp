#include "model/speculate.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr size_t longest_match = 4, shortest_match = 2;

class LookupDrafter final : public Drafter {
 public:
  Proposal propose(std::span<const int32_t> sequence, int64_t most, const Sampler&) override {
    Proposal p;
    const size_t from = after_match(sequence);
    for (size_t i = from; i < sequence.size() && static_cast<int64_t>(p.tokens.size()) < most; ++i) {
      p.tokens.push_back(sequence[i]);
      p.from.push_back(Distribution::certain(sequence[i]));
    }
    return p;
  }

 private:
  /// Where the text goes on after the match; its end if there is none.
  static size_t after_match(std::span<const int32_t> s) {
    size_t best = s.size(), length = shortest_match - 1;
    for (size_t end = s.size(); end-- > shortest_match;) {  // s[end - 1] is the match's last token
      size_t n = 0;
      while (n < longest_match && n < end && s[end - 1 - n] == s[s.size() - 1 - n]) ++n;
      if (n <= length) continue;
      length = n;
      best = end;
      if (n == longest_match) break;
    }
    return best;
  }
};

class ModelDrafter final : public Drafter {
 public:
  ModelDrafter(const Program& program, ThreadPool& pool, int64_t context, std::string_view kv, uint64_t seed)
      : executor_(program, pool), cache_(program.cache(context, kv)), rng_(seed) {
    if (program.encoder) fail(ErrorKind::usage, "an encoder cannot draft: it has no next token");
  }

  Proposal propose(std::span<const int32_t> sequence, int64_t most, const Sampler& sampler) override {
    Proposal p;
    // The last token always runs: its logits are needed.
    const auto length = static_cast<int64_t>(sequence.size());
    most = std::min(most, cache_.capacity() - length + 1);
    if (most <= 0 || sequence.empty()) return p;
    const size_t known = std::min(tokens_.size(), sequence.size() - 1);
    const auto same = static_cast<size_t>(
        std::mismatch(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(known), sequence.begin())
            .first -
        tokens_.begin());
    cache_.truncate(static_cast<int64_t>(same));
    tokens_.resize(same);
    Sampler own = sampler.fork(rng_.next());
    std::span<const int32_t> rest = sequence.subspan(same);
    int32_t token = 0;
    while (static_cast<int64_t>(p.tokens.size()) < most) {
      const auto logits = executor_.run(rest, cache_, Want::last);
      tokens_.insert(tokens_.end(), rest.begin(), rest.end());
      p.from.push_back(own.distribution(logits));
      token = own.draw(p.from.back());
      own.accept(token);
      p.tokens.push_back(token);
      rest = {&token, 1};
    }
    return p;
  }

 private:
  Executor executor_;
  KvCache cache_;
  Rng rng_;
  std::vector<int32_t> tokens_;  ///< in the cache
};

}  // namespace

std::unique_ptr<Drafter> lookup_drafter() { return std::make_unique<LookupDrafter>(); }

std::unique_ptr<Drafter> model_drafter(const Program& program, ThreadPool& pool, int64_t context,
                                       std::string_view kv, uint64_t seed) {
  return std::make_unique<ModelDrafter>(program, pool, context, kv, seed);
}

}  // namespace nibble
