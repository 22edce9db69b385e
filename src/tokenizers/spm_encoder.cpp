// sentencepiece's own behaviour, for tokenizer.model files.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "tokenizers/engine.h"
#include "tokenizers/lattice.h"
#include "tokenizers/meta_words.h"
#include "tokenizers/score_merge.h"
#include "tokenizers/spm_normalizer.h"
#include "tokenizers/trie.h"
#include "tokenizers/utf8.h"

namespace nibble {

namespace {

Trie user_defined_trie(const TokenizerData& data) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < data.tokens.size(); ++i)
    if (data.types[i] == TokenType::user_defined) keys.emplace_back(data.tokens[i], static_cast<int32_t>(i));
  return Trie(std::move(keys));
}

class SentencePieceEncoder : public TextEncoder {
 public:
  SentencePieceEncoder(const TokenizerData& data, const Vocab& vocab)
      : data_(data),
        vocab_(vocab),
        user_defined_(user_defined_trie(data)),
        normalizer_(data, user_defined_) {}

  void encode(std::string_view text, Place, std::vector<int32_t>& ids) const override {
    const std::string normalized = normalizer_.run(text);
    if (normalized.size() > max_text) fail(ErrorKind::unsupported, "cannot encode more than 1 GiB at once");
    Writer writer{*this, ids};
    segment(normalized, writer);
  }

 protected:
  static constexpr size_t max_text = size_t{1} << 30;

  /// Appends pieces: bytes for unknown text where the vocabulary has them, else one unknown token per run.
  class Writer {
   public:
    Writer(const SentencePieceEncoder& owner, std::vector<int32_t>& ids) : owner_(owner), ids_(ids) {}

    void put(std::string_view piece, int32_t id) {
      const bool unknown = id < 0 || id == owner_.data_.unk;
      if (!unknown) {
        ids_.push_back(id);
      } else if (owner_.data_.byte_fallback) {
        for (const char c : piece) ids_.push_back(owner_.vocab_.bytes()[static_cast<unsigned char>(c)]);
      } else if (!after_unknown_) {
        ids_.push_back(owner_.data_.unk);
      }
      after_unknown_ = unknown && !owner_.data_.byte_fallback;
    }

   private:
    const SentencePieceEncoder& owner_;
    std::vector<int32_t>& ids_;
    bool after_unknown_ = false;
  };

  virtual void segment(std::string_view text, Writer& writer) const = 0;

  size_t symbol_length(std::string_view text, bool& user_defined) const {
    const Trie::Match user = user_defined_.longest(text);
    user_defined = user.length > 0;
    return user_defined ? user.length : std::min(utf8::announced_length(text[0]), text.size());
  }

  const TokenizerData& data_;
  const Vocab& vocab_;
  Trie user_defined_;
  SpmNormalizer normalizer_;
};

class CharEncoder : public SentencePieceEncoder {
 public:
  using SentencePieceEncoder::SentencePieceEncoder;

 private:
  void segment(std::string_view text, Writer& writer) const override {
    while (!text.empty()) {
      bool user = false;
      const size_t n = symbol_length(text, user);
      writer.put(text.substr(0, n), vocab_.find(text.substr(0, n)));
      text.remove_prefix(n);
    }
  }
};

class WordEncoder : public SentencePieceEncoder {
 public:
  using SentencePieceEncoder::SentencePieceEncoder;

 private:
  void segment(std::string_view text, Writer& writer) const override {
    const std::string_view mark = utf8::meta_space;
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      if (!text.substr(at).starts_with(mark)) {
        ++at;
        continue;
      }
      const size_t cut = data_.whitespace_as_suffix ? at + mark.size() : at;
      if (cut > begin)
        writer.put(text.substr(begin, cut - begin), vocab_.find(text.substr(begin, cut - begin)));
      begin = cut;
      at += mark.size();
    }
    if (begin < text.size()) writer.put(text.substr(begin), vocab_.find(text.substr(begin)));
  }
};

class UnigramEncoder : public SentencePieceEncoder {
 public:
  UnigramEncoder(const TokenizerData& data, const Vocab& vocab)
      : SentencePieceEncoder(data, vocab),
        lattice_(data, Lattice::Precision::f32, Lattice::UserScore::longest, true) {}

 private:
  void segment(std::string_view text, Writer& writer) const override {
    for (const Lattice::Piece& piece : lattice_.best(text))
      writer.put(text.substr(piece.begin, piece.length), piece.id);
  }
  Lattice lattice_;
};

class BpeEncoder : public SentencePieceEncoder {
 public:
  BpeEncoder(const TokenizerData& data, const Vocab& vocab) : SentencePieceEncoder(data, vocab) {
    for (size_t i = 0; i < data.tokens.size(); ++i) {
      const TokenType type = data.types[i];
      if (type != TokenType::normal && type != TokenType::user_defined && type != TokenType::unused) continue;
      has_unused_ = has_unused_ || type == TokenType::unused;
      if (type != TokenType::user_defined) crosses_ = crosses_ || spans_words(data.tokens[i]);
    }
  }

 private:
  struct Segment {
    uint32_t begin, length;
    int32_t id;
  };

  void segment(std::string_view text, Writer& writer) const override {
    if (crosses_ || !user_defined_.empty()) {
      for (const Segment& part : merge(text)) writer.put(text.substr(part.begin, part.length), part.id);
      return;
    }
    std::unordered_map<std::string_view, std::vector<Segment>> words;
    while (!text.empty()) {
      const std::string_view word = first_word(text);
      auto [entry, fresh] = words.try_emplace(word);
      if (fresh) entry->second = merge(word);
      for (const Segment& part : entry->second) writer.put(word.substr(part.begin, part.length), part.id);
      text.remove_prefix(word.size());
    }
  }

  std::vector<Segment> merge(std::string_view text) const {
    std::vector<ScoreMerge::Symbol> symbols;
    for (size_t at = 0; at < text.size();) {
      bool user = false;
      const size_t n = symbol_length(text.substr(at), user);
      const auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(n), index - 1, index + 1, user});
      at += n;
    }
    if (!symbols.empty()) symbols.back().next = -1;

    std::unordered_map<std::string_view, uint32_t> halves;  // of unused pieces: length of the left half
    ScoreMerge engine;
    engine.run(
        text, symbols,
        [&](std::string_view joined) {
          const int32_t id = vocab_.find(joined);
          if (id < 0) return ScoreMerge::Candidate{-1, 0};
          const TokenType type = data_.types[static_cast<size_t>(id)];
          if (type != TokenType::normal && type != TokenType::user_defined && type != TokenType::unused)
            return ScoreMerge::Candidate{-1, 0};
          return ScoreMerge::Candidate{id, data_.scores[static_cast<size_t>(id)]};
        },
        [&](std::string_view joined, uint32_t left) {
          if (has_unused_) halves[joined] = left;
        });

    std::vector<Segment> parts;
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[static_cast<size_t>(i)].next)
      split_unused(text, symbols[static_cast<size_t>(i)].begin, symbols[static_cast<size_t>(i)].length,
                   halves, parts);
    return parts;
  }

  // Unused pieces take part in merges but are not put out: they are taken apart again.
  void split_unused(std::string_view text, uint32_t begin, uint32_t length,
                    const std::unordered_map<std::string_view, uint32_t>& halves,
                    std::vector<Segment>& parts) const {
    std::vector<std::pair<uint32_t, uint32_t>> stack{{begin, length}};
    while (!stack.empty()) {
      const auto [at, size] = stack.back();
      stack.pop_back();
      const std::string_view piece = text.substr(at, size);
      const int32_t id = vocab_.find(piece);
      const bool unused = id >= 0 && data_.types[static_cast<size_t>(id)] == TokenType::unused;
      const auto half = unused ? halves.find(piece) : halves.end();
      if (half == halves.end()) {
        parts.push_back({at, size, id});
      } else {
        stack.emplace_back(at + half->second, size - half->second);
        stack.emplace_back(at, half->second);
      }
    }
  }

  bool crosses_ = false;
  bool has_unused_ = false;
};

}  // namespace

std::unique_ptr<TextEncoder> make_sentencepiece_encoder(const TokenizerData& data, const Vocab& vocab) {
  switch (data.model) {
    case TokenizerModel::spm_bpe:
      return std::make_unique<BpeEncoder>(data, vocab);
    case TokenizerModel::spm_char:
      return std::make_unique<CharEncoder>(data, vocab);
    case TokenizerModel::spm_word:
      return std::make_unique<WordEncoder>(data, vocab);
    case TokenizerModel::unigram:
      return std::make_unique<UnigramEncoder>(data, vocab);
    default:
      fail(ErrorKind::unsupported, "a sentencepiece file cannot hold this kind of model");
  }
}

}  // namespace nibble
