#include "model/batch_generate.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/interrupt.h"
#include "model/generate.h"

namespace nibble {
namespace {

using Clock = std::chrono::steady_clock;

/// One prompt that runs.
struct Running {
  Running(size_t prompt_number, KvCache& place, const Tokenizer& tokenizer, const GenerateOptions& options,
          std::span<const int32_t> prompt)
      : number(prompt_number),
        cache(place),
        writer(tokenizer, options, {}),
        sampler(options.sampling),
        waiting(prompt.begin(), prompt.end()) {
    cache.clear();
    for (const int32_t t : prompt) sampler.accept(t);
    writer.result().prompt_tokens = static_cast<int64_t>(prompt.size());
  }

  size_t number;
  KvCache& cache;
  TextWriter writer;
  Sampler sampler;
  std::vector<int32_t> read;     ///< in the cache
  std::vector<int32_t> waiting;  ///< to be run next
};

class Batch {
 public:
  Batch(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool, const GenerateOptions& options,
        const BatchOptions& batch)
      : program_(program),
        tokenizer_(tokenizer),
        executor_(program, pool),
        options_(options),
        batch_(batch),
        context_(usable_context(program, batch.context)) {}

  int64_t context() const { return context_; }

  /// Gives a prompt one of the free places.
  void start(size_t number, std::span<const int32_t> prompt) {
    if (free_.empty()) {
      places_.push_back(std::make_unique<KvCache>(program_.cache(context_, batch_.kv)));
      free_.push_back(places_.back().get());
    }
    running_.push_back(std::make_unique<Running>(number, *free_.back(), tokenizer_, options_, prompt));
    free_.pop_back();
    if (!running_.back()->writer.wants_more()) finished_.push_back(running_.back().get());
  }
  size_t running() const { return running_.size(); }

  /// Runs what is waiting in every sequence.
  void step() {
    std::vector<Executor::Part> parts;
    std::vector<Running*> owners;
    for (const auto& r : running_) {
      if (is_finished(*r)) continue;
      const size_t n = std::min(r->waiting.size(), static_cast<size_t>(batch_.prompt_piece));
      parts.push_back(
          {std::span(r->waiting).first(n), &r->cache, n == r->waiting.size() ? Want::last : Want::none});
      owners.push_back(r.get());
    }
    if (parts.empty()) return;
    std::span<const float> logits = executor_.run(parts);
    const auto cols = static_cast<size_t>(program_.vocab);
    for (size_t i = 0; i < parts.size(); ++i) {
      Running& r = *owners[i];
      const auto n = static_cast<ptrdiff_t>(parts[i].tokens.size());
      r.read.insert(r.read.end(), r.waiting.begin(), r.waiting.begin() + n);
      r.waiting.erase(r.waiting.begin(), r.waiting.begin() + n);
      if (!r.waiting.empty()) continue;
      if (!r.writer.result().tokens.empty()) ++r.writer.result().steps;
      if (!next(r, logits.first(cols))) finished_.push_back(&r);
      logits = logits.subspan(cols);
    }
  }

  /// Hands over what has ended, and frees its place.
  void collect(const std::function<void(size_t, const Generation&)>& done, BatchReport& report) {
    for (size_t i = 0; i < running_.size();) {
      if (!is_finished(*running_[i])) {
        ++i;
        continue;
      }
      const std::unique_ptr<Running> r = std::move(running_[i]);
      running_.erase(running_.begin() + static_cast<ptrdiff_t>(i));
      free_.push_back(&r->cache);
      r->writer.finish();
      report.prompt_tokens += r->writer.result().prompt_tokens;
      report.generated_tokens += static_cast<int64_t>(r->writer.result().tokens.size());
      done(r->number, r->writer.result());
    }
    finished_.clear();
  }

  void interrupt() {
    for (const auto& r : running_) {
      r->writer.result().reason = StopReason::interrupted;
      finished_.push_back(r.get());
    }
  }

 private:
  bool is_finished(const Running& r) const {
    return std::find(finished_.begin(), finished_.end(), &r) != finished_.end();
  }

  /// Chooses the token after the last one; false if the sequence ends.
  bool next(Running& r, std::span<const float> logits) {
    const int32_t token = r.sampler.next(logits);
    if (!r.writer.take(token)) return false;
    r.sampler.accept(token);
    if (!r.writer.wants_more()) return false;
    if (r.cache.length() == r.cache.capacity()) {
      if (!options_.context_shift || r.cache.capacity() < 4) {
        r.writer.result().reason = StopReason::context_full;
        return false;
      }
      // Keys were made of rows that saw the forgotten tokens, so all are made again.
      r.waiting = shifted_context(r.read, tokenizer_);
      r.read.clear();
      r.cache.clear();
      ++r.writer.result().shifts;
    }
    r.waiting.push_back(token);
    return true;
  }

  const Program& program_;
  const Tokenizer& tokenizer_;
  Executor executor_;
  const GenerateOptions& options_;
  const BatchOptions& batch_;
  int64_t context_;
  std::vector<std::unique_ptr<KvCache>> places_;
  std::vector<KvCache*> free_;
  std::vector<std::unique_ptr<Running>> running_;
  std::vector<const Running*> finished_;
};

}  // namespace

BatchReport generate_batch(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool,
                           std::span<const std::vector<int32_t>> prompts, const GenerateOptions& options,
                           const BatchOptions& batch,
                           const std::function<void(size_t, const Generation&)>& done) {
  if (batch.together < 1) fail(ErrorKind::usage, "{} sequences at once are none", batch.together);
  if (batch.prompt_piece < 1)
    fail(ErrorKind::usage, "prompts cannot be read {} tokens at once", batch.prompt_piece);
  Batch all(program, tokenizer, pool, options, batch);
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) fail(ErrorKind::usage, "prompt {} has no tokens", i + 1);
    if (static_cast<int64_t>(prompts[i].size()) > all.context())
      throw Error(
          ErrorKind::usage,
          fmt::format("prompt {} has {} tokens, the context {}", i + 1, prompts[i].size(), all.context()),
          "shorten it, or give a larger --ctx");
  }
  BatchReport report;
  const auto start = Clock::now();
  size_t next = 0;
  try {
    while (next < prompts.size() || all.running() > 0) {
      while (next < prompts.size() && static_cast<int64_t>(all.running()) < batch.together) {
        all.start(next, prompts[next]);
        ++next;
      }
      check_interrupt();
      all.step();
      ++report.steps;
      all.collect(done, report);
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::interrupted) throw;
    report.interrupted = true;
    all.interrupt();
    all.collect(done, report);
  }
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return report;
}

}  // namespace nibble
