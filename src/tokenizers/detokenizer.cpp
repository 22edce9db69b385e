#include "tokenizers/detokenizer.h"

#include <algorithm>

#include "tokenizers/byte_level.h"
#include "tokenizers/utf8.h"
#include "tokenizers/vocab.h"

namespace nibble {

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    out.append(text, at, found - at);
    out += to;
  }
  if (at == 0) return;
  out.append(text, at);
  text = std::move(out);
}

}  // namespace

void clean_up_spaces(std::string& text) {
  for (const char* pair : {" .", " ?", " !", " ,"}) replace_all(text, pair, pair + 1);
  replace_all(text, " ' ", "'");
  for (const char* word : {" n't", " 'm"}) replace_all(text, word, word + 1);
  replace_all(text, " do not", " don't");
  for (const char* word : {" 's", " 've", " 're"}) replace_all(text, word, word + 1);
}

Detokenizer::Detokenizer(const TokenizerData& data) : data_(data) {
  const bool gguf = data.source == TokenizerSource::gguf;
  scheme_ = data.source == TokenizerSource::sentencepiece || (gguf && data.model != TokenizerModel::bpe)
                ? Scheme::sentencepiece
                : Scheme::pipeline;
  if (gguf && data.model == TokenizerModel::word_piece) scheme_ = Scheme::bert;
  if (scheme_ != Scheme::pipeline) return;
  // What follows a fuse concerns the text as a whole.
  bool fused = false;
  for (const DecoderStep& step : data.decoders) {
    fused = fused || step.kind == DecoderKind::fuse;
    if (fused && step.kind == DecoderKind::strip) {
      lead_char_ = tail_char_ = step.pattern;
      lead_ += step.start;
      tail_ += step.stop;
    }
    word_suffix_ = word_suffix_ || step.kind == DecoderKind::bpe;
  }
  if (word_suffix_) {
    tail_char_ = " ";
    tail_ = 1;
  }
}

Detokenizer::State Detokenizer::start(bool skip_special, bool continuation) const {
  State state;
  state.skip_special = skip_special;
  state.first = state.at_start = !continuation;
  state.lead_done = continuation;
  return state;
}

std::string Detokenizer::sentencepiece_bytes(State& state, int32_t id) const {
  const auto index = static_cast<size_t>(id);
  const TokenType type = data_.types[index];
  const bool gguf = data_.source == TokenizerSource::gguf;
  if (type == TokenType::control) return state.skip_special ? std::string() : data_.tokens[index];
  if (type == TokenType::unknown) {
    if (!gguf) return data_.unk_surface;
    return state.skip_special ? std::string() : data_.tokens[index];
  }
  if (const int byte = type == TokenType::byte ? byte_of_piece(data_.tokens[index]) : -1; byte >= 0)
    return std::string(1, static_cast<char>(byte));
  std::string_view piece = data_.tokens[index];
  if (gguf && type == TokenType::user_defined) return std::string(piece);
  if (gguf && (type == TokenType::unused || type == TokenType::undefined)) return {};
  if (state.at_start && (data_.add_dummy_prefix || data_.remove_extra_whitespaces) &&
      piece.starts_with(utf8::meta_space)) {
    piece.remove_prefix(utf8::meta_space.size());
    if (!data_.remove_extra_whitespaces) state.at_start = false;
  }
  std::string text(piece);
  replace_all(text, utf8::meta_space, " ");
  return text;
}

std::string Detokenizer::bert_bytes(const State& state, int32_t id) const {
  const auto index = static_cast<size_t>(id);
  const TokenType type = data_.types[index];
  std::string text = data_.tokens[index];
  if (type == TokenType::control || type == TokenType::unknown) {
    if (state.skip_special) return {};
    if (!state.first) text.insert(0, 1, ' ');
    return text;
  }
  replace_all(text, utf8::meta_space, " ");
  if (state.first && text.starts_with(' ')) text.erase(0, 1);
  clean_up_spaces(text);
  return text;
}

std::string Detokenizer::pipeline_bytes(const State& state, int32_t id) const {
  const auto index = static_cast<size_t>(id);
  const TokenType type = data_.types[index];
  std::string text = data_.tokens[index];
  if (type == TokenType::control && state.skip_special) return {};
  if (data_.source == TokenizerSource::gguf) {
    if (type == TokenType::unknown && state.skip_special) return {};
    if (type == TokenType::control || type == TokenType::unknown || type == TokenType::user_defined)
      return text;
  }
  if (data_.decoders.empty()) return state.first ? text : " " + text;
  for (const DecoderStep& step : data_.decoders) {
    switch (step.kind) {
      case DecoderKind::fuse:
        return text;
      case DecoderKind::byte_level:
        if (auto bytes = from_byte_level(text)) text = std::move(*bytes);
        break;
      case DecoderKind::byte_fallback:
        if (const int byte = byte_of_piece(text); byte >= 0) text.assign(1, static_cast<char>(byte));
        break;
      case DecoderKind::replace:
        replace_all(text, step.pattern, step.content);
        break;
      case DecoderKind::bpe:
        replace_all(text, step.content, " ");
        break;
      case DecoderKind::metaspace:
        replace_all(text, step.pattern, state.first && step.prepend != PrependScheme::never ? "" : " ");
        break;
      case DecoderKind::word_piece:
        if (!state.first) {
          if (!step.content.empty() && text.starts_with(step.content))
            text.erase(0, step.content.size());
          else
            text.insert(0, 1, ' ');
        }
        if (step.cleanup) clean_up_spaces(text);
        break;
      case DecoderKind::strip:
        for (size_t i = 0; i < step.start && !step.pattern.empty() && text.starts_with(step.pattern); ++i)
          text.erase(0, step.pattern.size());
        for (size_t i = 0; i < step.stop && !step.pattern.empty() && text.ends_with(step.pattern); ++i)
          text.resize(text.size() - step.pattern.size());
        break;
    }
  }
  return text;
}

void Detokenizer::emit(State& state, std::string_view bytes, std::string& out) const {
  while (!state.lead_done && !bytes.empty()) {
    if (state.stripped < lead_ && !lead_char_.empty() && bytes.starts_with(lead_char_)) {
      bytes.remove_prefix(lead_char_.size());
      ++state.stripped;
    } else {
      state.lead_done = true;
    }
  }
  state.held += bytes;
  size_t keep = 0;
  while (keep < tail_ && !tail_char_.empty() &&
         std::string_view(state.held)
             .substr(0, state.held.size() - keep * tail_char_.size())
             .ends_with(tail_char_))
    ++keep;
  const size_t ready = state.held.size() - keep * tail_char_.size();
  state.incomplete.append(state.held, 0, ready);
  state.held.erase(0, ready);
  const size_t complete = utf8::complete_length(state.incomplete);
  out += utf8::lossy(std::string_view(state.incomplete).substr(0, complete),
                     scheme_ == Scheme::pipeline ? utf8::Lossy::maximal : utf8::Lossy::per_byte);
  state.incomplete.erase(0, complete);
}

void Detokenizer::push(State& state, int32_t id, std::string& out) const {
  std::string bytes;
  switch (scheme_) {
    case Scheme::sentencepiece:
      bytes = sentencepiece_bytes(state, id);
      break;
    case Scheme::bert:
      bytes = bert_bytes(state, id);
      break;
    case Scheme::pipeline:
      bytes = pipeline_bytes(state, id);
      break;
  }
  const bool silent = state.skip_special && data_.types[static_cast<size_t>(id)] == TokenType::control;
  if (!silent) state.first = false;
  if (!bytes.empty()) state.at_start = false;
  emit(state, bytes, out);
}

void Detokenizer::finish(State& state, std::string& out) const {
  out += utf8::lossy(state.incomplete,
                     scheme_ == Scheme::pipeline ? utf8::Lossy::maximal : utf8::Lossy::per_byte);
  state.incomplete.clear();
  state.held.clear();
}

}  // namespace nibble
