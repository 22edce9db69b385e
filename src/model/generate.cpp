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

}  // namespace

std::string_view stop_reason_name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::end_of_text:
      return "end of text";
    case StopReason::stop_string:
      return "stop string";
    case StopReason::max_tokens:
      return "token limit";
    case StopReason::context_full:
      return "context full";
    case StopReason::interrupted:
      return "interrupted";
  }
  return "?";
}

double Generation::prefill_rate() const noexcept {
  return prefill_seconds > 0 ? static_cast<double>(prompt_tokens - reused_tokens) / prefill_seconds : 0;
}

double Generation::decode_rate() const noexcept {
  return decode_seconds > 0 ? static_cast<double>(tokens.size()) / decode_seconds : 0;
}

StopFilter::StopFilter(std::vector<std::string> stop) : stop_(std::move(stop)) {
  std::erase(stop_, std::string());
}

std::string StopFilter::push(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  size_t first = std::string::npos;
  for (const std::string& s : stop_) first = std::min(first, held_.find(s));
  if (first != std::string::npos) {
    stopped_ = true;
    std::string shown = held_.substr(0, first);
    held_.clear();
    return shown;
  }
  // The longest tail that a stop string begins with.
  size_t keep = 0;
  for (const std::string& s : stop_) {
    for (size_t n = std::min(held_.size(), s.size() - 1); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, s, 0, n) == 0) keep = n;
    }
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopFilter::finish() { return std::exchange(held_, {}); }

Generator::Generator(const Program& program, const Tokenizer& tokenizer, ThreadPool& pool, int64_t context,
                     std::string_view kv)
    : program_(program),
      tokenizer_(tokenizer),
      executor_(program, pool),
      cache_(program.cache(usable_context(program, context), kv)) {}

std::vector<float> Generator::read(std::span<const int32_t> tokens) {
  const auto logits = executor_.run(tokens, cache_, Want::last);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return {logits.begin(), logits.end()};
}

std::vector<float> Generator::shift() {
  const size_t keep = !tokens_.empty() && tokens_[0] == tokenizer_.bos() && tokenizer_.bos() >= 0 ? 1 : 0;
  const size_t drop = std::max<size_t>(1, (tokens_.size() - keep) / 2);
  std::vector<int32_t> rest = tokens_;
  rest.erase(rest.begin() + static_cast<ptrdiff_t>(keep), rest.begin() + static_cast<ptrdiff_t>(keep + drop));
  // Keys were made of rows that saw the forgotten tokens, so all are made again.
  cache_.clear();
  tokens_.clear();
  return read(rest);
}

Generation Generator::generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                               const std::function<bool(std::string_view)>& on_text) {
  Generation result;
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
  cache_.truncate(static_cast<int64_t>(same));
  tokens_.resize(same);
  result.reused_tokens = static_cast<int64_t>(same);

  Tokenizer::StreamDecoder decoder(tokenizer_, {.skip_special = true, .continuation = true});
  StopFilter filter(options.stop);
  bool wanted = true;
  const auto show = [&](const std::string& text) {
    result.text += text;
    if (!text.empty() && on_text && !on_text(text)) wanted = false;
  };
  auto start = Clock::now();
  try {
    std::vector<float> logits = read(prompt.subspan(same));
    result.prefill_seconds = seconds_since(start);
    start = Clock::now();
    for (;;) {
      if (options.max_tokens >= 0 && static_cast<int64_t>(result.tokens.size()) >= options.max_tokens) {
        result.reason = StopReason::max_tokens;
        break;
      }
      check_interrupt();
      const int32_t token = sampler.next(logits);
      if (!options.ignore_end && tokenizer_.ends_generation(token)) {
        result.reason = StopReason::end_of_text;
        break;
      }
      sampler.accept(token);
      result.tokens.push_back(token);
      show(filter.push(decoder.push(token)));
      if (filter.stopped()) {
        result.reason = StopReason::stop_string;
        break;
      }
      if (!wanted) {
        result.reason = StopReason::interrupted;
        break;
      }
      if (cache_.length() == cache_.capacity()) {
        if (!options.context_shift || cache_.capacity() < 4) {
          result.reason = StopReason::context_full;
          break;
        }
        shift();
        ++result.shifts;
      }
      logits = read({&token, 1});
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::interrupted) throw;
    result.reason = StopReason::interrupted;
  }
  result.decode_seconds = seconds_since(start);
  if (!filter.stopped()) show(filter.push(decoder.finish()));
  if (!filter.stopped()) show(filter.finish());
  return result;
}

}  // namespace nibble
