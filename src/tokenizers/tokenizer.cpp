#include "tokenizers/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tokenizers/checks.h"
#include "tokenizers/detokenizer.h"
#include "tokenizers/engine.h"
#include "tokenizers/partition.h"
#include "tokenizers/sentencepiece.h"
#include "tokenizers/special.h"
#include "tokenizers/vocab.h"

namespace nibble {

namespace {

TokenizerData completed(TokenizerData data) {
  check_and_complete(data);
  return data;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerData given)
      : data(completed(std::move(given))),
        vocab(data, data.source == TokenizerSource::gguf),
        partition(data),
        encoder(make_encoder(data, vocab)),
        detokenizer(data),
        endings(ending_ids(data)) {}

  void check(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= data.tokens.size())
      fail(ErrorKind::usage, "token id {} is out of range: the vocabulary has {} entries", id,
           data.tokens.size());
  }

  const TokenizerData data;
  const Vocab vocab;
  const Partition partition;
  const std::unique_ptr<TextEncoder> encoder;
  const Detokenizer detokenizer;
  const std::unordered_set<int32_t> endings;
};

Tokenizer::Tokenizer(TokenizerData data) : impl_(std::make_shared<const Impl>(std::move(data))) {}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  if (options.add_special) ids = impl_->data.prefix;
  if (impl_->encoder->finds_special()) {
    impl_->encoder->encode(text, {true, true, options.parse_special}, ids);
  } else {
    bool first = true, after_special = true;
    for (const Part& part : impl_->partition.split(text, options.parse_special)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        impl_->encoder->encode(part.text, {first, after_special, options.parse_special}, ids);
      first = false;
      after_special = part.id >= 0;
    }
  }
  if (options.add_special) ids.insert(ids.end(), impl_->data.suffix.begin(), impl_->data.suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  std::string out;
  Detokenizer::State state = impl_->detokenizer.start(options.skip_special, options.continuation);
  for (const int32_t id : ids) {
    impl_->check(id);
    impl_->detokenizer.push(state, id, out);
  }
  impl_->detokenizer.finish(state, out);
  return out;
}

struct Tokenizer::StreamDecoder::State {
  std::shared_ptr<const Impl> impl;
  DecodeOptions options;
  Detokenizer::State state;
};

Tokenizer::StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options)
    : state_(std::make_unique<State>(
          State{tokenizer.impl_, options,
                tokenizer.impl_->detokenizer.start(options.skip_special, options.continuation)})) {}

Tokenizer::StreamDecoder::~StreamDecoder() = default;
Tokenizer::StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
Tokenizer::StreamDecoder& Tokenizer::StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string Tokenizer::StreamDecoder::push(int32_t id) {
  std::string out;
  state_->impl->check(id);
  state_->impl->detokenizer.push(state_->state, id, out);
  return out;
}

std::string Tokenizer::StreamDecoder::finish() {
  std::string out;
  const Detokenizer& detokenizer = state_->impl->detokenizer;
  detokenizer.finish(state_->state, out);
  state_->state = detokenizer.start(state_->options.skip_special, state_->options.continuation);
  return out;
}

int32_t Tokenizer::vocab_size() const noexcept { return static_cast<int32_t>(impl_->data.tokens.size()); }

const std::string& Tokenizer::piece(int32_t id) const {
  impl_->check(id);
  return impl_->data.tokens[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view piece) const {
  const int32_t id = impl_->vocab.find(piece);
  return id < 0 ? std::nullopt : std::optional(id);
}

TokenType Tokenizer::type(int32_t id) const {
  impl_->check(id);
  return impl_->data.types[static_cast<size_t>(id)];
}

float Tokenizer::score(int32_t id) const {
  impl_->check(id);
  return impl_->data.scores.empty() ? 0.0f : impl_->data.scores[static_cast<size_t>(id)];
}

bool Tokenizer::ends_generation(int32_t id) const { return impl_->endings.contains(id); }

std::string Tokenizer::kind() const {
  switch (impl_->data.model) {
    case TokenizerModel::spm_bpe:
      return "sentencepiece BPE";
    case TokenizerModel::spm_char:
      return "sentencepiece characters";
    case TokenizerModel::spm_word:
      return "sentencepiece words";
    case TokenizerModel::unigram:
      return "unigram";
    case TokenizerModel::bpe:
      return impl_->data.byte_fallback ? "BPE with byte fallback" : "byte-level BPE";
    case TokenizerModel::word_piece:
      return "WordPiece";
    case TokenizerModel::word_level:
      return "word level";
  }
  return "unknown";
}

const TokenizerData& Tokenizer::data() const noexcept { return impl_->data; }

}  // namespace nibble
