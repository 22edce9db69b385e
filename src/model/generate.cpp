#include "model/generate.h"

#include <algorithm>
#include <chrono>

#include "base/interrupt.h"

namespace nibble {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int64_t usable_context(const Program& program, int64_t asked) {
  if (program.encoder)
    throw Error(ErrorKind::usage, "this model is an encoder: it has no next token",
                "--embed gives its vectors");
  if (asked < 0) fail(ErrorKind::usage, "a context of {} tokens is not possible", asked);
  if (program.positions > 0 && asked > program.positions)
    fail(ErrorKind::usage, "a context of {} tokens is more than the {} positions the model has learned",
         asked, program.positions);
  if (asked > 0) return asked;
  return program.context > 0 ? program.context : 2048;
}

Generator::Generator(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool, int64_t context,
                     std::string_view kv)
    : program_(program),
      tokenizer_(tokenizer),
      executor_(program, pool),
      cache_(program.cache(usable_context(program, context), kv)) {}

void Generator::read(std::span<const int32_t> tokens, Want want) {
  const auto logits = executor_.run(tokens, cache_, want);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  logits_.assign(logits.begin(), logits.end());
}

std::span<const float> Generator::logits(size_t row) const {
  const auto cols = static_cast<size_t>(program_.vocab);
  return std::span(logits_).subspan(row * cols, cols);
}

void Generator::forget(size_t length) {
  cache_.truncate(static_cast<int64_t>(length));
  tokens_.resize(length);
}

void Generator::shift() {
  const std::vector<int32_t> rest = shifted_context(tokens_, tokenizer_);
  // Keys were made of rows that saw the forgotten tokens, so all are made again.
  forget(0);
  read(rest, Want::last);
}

Proposal Generator::guess(int32_t token, const GenerateOptions& options, const Sampler& sampler,
                          const Generation& so_far) {
  if (options.drafter == nullptr) return {};
  int64_t most = std::min(options.draft_tokens, cache_.capacity() - cache_.length() - 1);
  if (options.max_tokens >= 0)  // one more comes of itself
    most = std::min(most, options.max_tokens - static_cast<int64_t>(so_far.tokens.size()) - 1);
  if (most <= 0) return {};
  std::vector<int32_t> sequence = tokens_;
  sequence.push_back(token);
  return options.drafter->propose(sequence, most, sampler);
}

bool Generator::step(int32_t& token, bool& sampled, const GenerateOptions& options, Sampler& sampler,
                     TextWriter& writer) {
  const Proposal guess = this->guess(token, options, sampler, writer.result());
  std::vector<int32_t> batch{token};
  batch.insert(batch.end(), guess.tokens.begin(), guess.tokens.end());
  const size_t before = tokens_.size();
  read(batch, guess.tokens.empty() ? Want::last : Want::all);
  Generation& g = writer.result();
  ++g.steps;
  g.proposed += static_cast<int64_t>(guess.tokens.size());
  size_t good = 0;
  sampled = false;
  bool more = true;
  while (more && !sampled && good < guess.tokens.size()) {
    const Sampler::Verdict v =
        sampler.judge(sampler.distribution(logits(good)), guess.tokens[good], guess.from[good]);
    if (v.accepted) {
      ++good;
      ++g.accepted;
    } else {
      token = v.token;
      sampled = true;
    }
    sampler.accept(v.token);
    more = writer.take(v.token);
  }
  forget(before + 1 + good);
  last_row_ = good;
  return more;
}

Generation Generator::generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                               const TextCallback& on_text) {
  TextWriter writer(tokenizer_, options, on_text);
  Generation& result = writer.result();
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) fail(ErrorKind::usage, "the prompt has no tokens");
  if (result.prompt_tokens > cache_.capacity())
    throw Error(ErrorKind::usage,
                fmt::format("the prompt has {} tokens, the context {}", prompt.size(), cache_.capacity()),
                "shorten it, or give a larger --ctx");
  Sampler sampler(options.sampling);
  for (const int32_t t : prompt) sampler.accept(t);

  // The last token always runs: its logits are needed.
  const size_t most = std::min(tokens_.size(), prompt.size() - 1);
  const auto same = static_cast<size_t>(
      std::mismatch(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(most), prompt.begin()).first -
      tokens_.begin());
  forget(same);
  result.reused_tokens = static_cast<int64_t>(same);

  auto start = Clock::now();
  try {
    read(prompt.subspan(same), Want::last);
    last_row_ = 0;
    result.prefill_seconds = seconds_since(start);
    start = Clock::now();
    int32_t token = 0;
    bool sampled = false;  // `token` is chosen and written already, but has not run
    for (;;) {
      check_interrupt();
      if (!sampled) {
        if (!writer.wants_more()) break;
        token = sampler.next(logits(last_row_));
        const bool more = writer.take(token);
        if (!more) break;
        sampler.accept(token);
      }
      if (!writer.wants_more()) break;
      if (cache_.length() == cache_.capacity()) {
        if (!options.context_shift || cache_.capacity() < 4) {
          result.reason = StopReason::context_full;
          break;
        }
        shift();
        ++result.shifts;
      }
      if (!step(token, sampled, options, sampler, writer)) break;
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::interrupted) throw;
    result.reason = StopReason::interrupted;
  }
  result.decode_seconds = seconds_since(start);
  writer.finish();
  return std::move(result);
}

}  // namespace nibble
