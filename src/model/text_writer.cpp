#include "model/text_writer.h"

#include <algorithm>

namespace nibble {

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
  // The first token comes of the prompt.
  return decode_seconds > 0 && tokens.size() > 1 ? static_cast<double>(tokens.size() - 1) / decode_seconds
                                                 : 0;
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

TextWriter::TextWriter(const Tokenizer& tokenizer, const GenerateOptions& options, TextCallback on_text)
    : tokenizer_(tokenizer),
      options_(options),
      on_text_(std::move(on_text)),
      decoder_(tokenizer, {.skip_special = true, .continuation = true}),
      filter_(options.stop) {}

bool TextWriter::end(StopReason reason) {
  result_.reason = reason;
  return false;
}

void TextWriter::show(const std::string& text) {
  result_.text += text;
  if (!text.empty() && on_text_ && !on_text_(text)) wanted_ = false;
}

bool TextWriter::wants_more() {
  const bool enough =
      options_.max_tokens >= 0 && static_cast<int64_t>(result_.tokens.size()) >= options_.max_tokens;
  return !enough || end(StopReason::max_tokens);
}

bool TextWriter::take(int32_t token) {
  if (!options_.ignore_end && tokenizer_.ends_generation(token)) return end(StopReason::end_of_text);
  result_.tokens.push_back(token);
  show(filter_.push(decoder_.push(token)));
  if (filter_.stopped()) return end(StopReason::stop_string);
  return wanted_ || end(StopReason::interrupted);
}

void TextWriter::finish() {
  if (!filter_.stopped()) show(filter_.push(decoder_.finish()));
  if (!filter_.stopped()) show(filter_.finish());
}

std::vector<int32_t> shifted_context(std::span<const int32_t> tokens, const Tokenizer& tokenizer) {
  const size_t keep = !tokens.empty() && tokenizer.bos() >= 0 && tokens[0] == tokenizer.bos() ? 1 : 0;
  const size_t drop = std::max<size_t>(1, (tokens.size() - keep) / 2);
  std::vector<int32_t> rest(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(keep));
  rest.insert(rest.end(), tokens.begin() + static_cast<ptrdiff_t>(keep + drop), tokens.end());
  return rest;
}

}  // namespace nibble
