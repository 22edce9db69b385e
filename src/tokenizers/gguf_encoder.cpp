// llama.cpp's behaviour for GGUF vocabularies that are not byte-level BPE.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "tokenizers/engine.h"
#include "tokenizers/lattice.h"
#include "tokenizers/meta_words.h"
#include "tokenizers/score_merge.h"
#include "tokenizers/spm_normalizer.h"
#include "tokenizers/trie.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace nibble {

namespace {

/// `tokenizer.ggml.model` = llama: like sentencepiece's BPE, without normalizer; every token takes part.
class GgufSpm : public TextEncoder {
 public:
  GgufSpm(const TokenizerData& data, const Vocab& vocab) : data_(data), vocab_(vocab) {
    crosses_ = std::any_of(data.tokens.begin(), data.tokens.end(), spans_words);
  }

  void encode(std::string_view text, Place place, std::vector<int32_t>& ids) const override {
    constexpr size_t most = size_t{1} << 29;
    if (text.size() > most) fail(ErrorKind::unsupported, "cannot encode more than 512 MiB at once");
    std::string spelled;
    spelled.reserve(text.size() + text.size() / 2);
    if (data_.add_dummy_prefix && place.after_special) spelled += utf8::meta_space;
    for (const char c : text) {
      if (c == ' ')
        spelled += utf8::meta_space;
      else
        spelled += c;
    }
    if (crosses_) {
      merge(spelled, ids);
      return;
    }
    std::unordered_map<std::string_view, std::vector<int32_t>> words;
    for (std::string_view rest = spelled; !rest.empty();) {
      const std::string_view word = first_word(rest);
      const auto [entry, fresh] = words.try_emplace(word);
      if (fresh) merge(word, entry->second);
      ids.insert(ids.end(), entry->second.begin(), entry->second.end());
      rest.remove_prefix(word.size());
    }
  }

 private:
  void merge(std::string_view text, std::vector<int32_t>& ids) const {
    std::vector<ScoreMerge::Symbol> symbols;
    for (size_t at = 0; at < text.size();) {
      const size_t n = std::min(utf8::announced_length(text[at]), text.size() - at);
      const auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(n), index - 1, index + 1, false});
      at += n;
    }
    if (symbols.empty()) return;
    symbols.back().next = -1;
    ScoreMerge engine;
    engine.run(
        text, symbols,
        [&](std::string_view joined) {
          const int32_t id = vocab_.find(joined);
          return ScoreMerge::Candidate{id, id < 0 ? 0.0f : data_.scores[static_cast<size_t>(id)]};
        },
        [](std::string_view, uint32_t) {});
    for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      const ScoreMerge::Symbol& symbol = symbols[static_cast<size_t>(i)];
      const std::string_view piece = text.substr(symbol.begin, symbol.length);
      if (const int32_t id = vocab_.find(piece); id >= 0)
        ids.push_back(id);
      else
        put_bytes(piece, ids);
    }
  }

  void put_bytes(std::string_view piece, std::vector<int32_t>& ids) const {
    for (size_t i = 0; i < piece.size(); ++i) {
      int32_t id = vocab_.bytes()[static_cast<unsigned char>(piece[i])];
      if (id < 0) id = vocab_.find(piece.substr(i, 1));
      if (id >= 0) {
        ids.push_back(id);
      } else {
        // No bytes in this vocabulary: one unknown token for the code point.
        if (data_.unk >= 0) ids.push_back(data_.unk);
        return;
      }
    }
  }

  const TokenizerData& data_;
  const Vocab& vocab_;
  bool crosses_ = false;
};

/// `tokenizer.ggml.model` = bert: words begin with U+2581, longest match first.
class GgufWordPiece : public TextEncoder {
 public:
  GgufWordPiece(const TokenizerData& data, const Vocab& vocab) : data_(data), vocab_(vocab) {
    for (const std::string& token : data.tokens) longest_ = std::max(longest_, token.size());
  }

  void encode(std::string_view text, Place, std::vector<int32_t>& ids) const override {
    std::string word;
    const auto flush = [&] {
      if (!word.empty()) put(word, ids);
      word.clear();
    };
    while (!text.empty()) {
      const utf8::Decoded decoded = utf8::decode(text);
      text.remove_prefix(decoded.length);
      const char32_t c = data_.strip_accents ? unicode::base_of(decoded.code) : decoded.code;
      if (unicode::is_whitespace(c)) {
        flush();
        continue;
      }
      if (c == 0 || c == 0xfffd || unicode::is_control(c)) continue;
      if (data_.strip_accents && unicode::is_mark(c)) continue;
      const bool alone =
          unicode::is_punctuation(c) || (c < 0x7f && unicode::is_symbol(c)) || unicode::is_ideograph(c);
      if (alone) flush();
      utf8::append(word, data_.lowercase ? unicode::to_lower(c) : c);
      if (alone) flush();
    }
    flush();
  }

 private:
  void put(const std::string& word, std::vector<int32_t>& ids) const {
    const std::string marked = std::string(utf8::meta_space) + word;
    const size_t before = ids.size();
    for (size_t at = 0; at < marked.size();) {
      size_t end = std::min(marked.size(), at + longest_);
      int32_t id = -1;
      for (; end > at; --end)
        if (id = vocab_.find(std::string_view(marked).substr(at, end - at)); id >= 0) break;
      if (id < 0) {
        ids.resize(before);
        break;
      }
      ids.push_back(id);
      at = end;
    }
    if (ids.size() == before && data_.unk >= 0) ids.push_back(data_.unk);
  }

  const TokenizerData& data_;
  const Vocab& vocab_;
  size_t longest_ = 0;
};

/// `tokenizer.ggml.model` = t5: unigram with a character map.
class GgufUnigram : public TextEncoder {
 public:
  explicit GgufUnigram(const TokenizerData& data)
      : data_(data),
        user_defined_(user_defined(data)),
        normalizer_(data, user_defined_),
        lattice_(data, Lattice::Precision::f64, Lattice::UserScore::zero, false) {}

  void encode(std::string_view text, Place, std::vector<int32_t>& ids) const override {
    bool after_unknown = false;
    for (const Lattice::Piece& piece : lattice_.best(normalizer_.run(text))) {
      const int32_t id = piece.id < 0 ? data_.unk : piece.id;
      const bool unknown = id == data_.unk;
      if (id >= 0 && !(unknown && after_unknown)) ids.push_back(id);
      after_unknown = unknown;
    }
  }

 private:
  static Trie user_defined(const TokenizerData& data) {
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (size_t i = 0; i < data.tokens.size(); ++i)
      if (data.types[i] == TokenType::user_defined)
        keys.emplace_back(data.tokens[i], static_cast<int32_t>(i));
    return Trie(std::move(keys));
  }

  const TokenizerData& data_;
  Trie user_defined_;
  SpmNormalizer normalizer_;
  Lattice lattice_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_gguf_encoder(const TokenizerData& data, const Vocab& vocab) {
  switch (data.model) {
    case TokenizerModel::spm_bpe:
      return std::make_unique<GgufSpm>(data, vocab);
    case TokenizerModel::word_piece:
      return std::make_unique<GgufWordPiece>(data, vocab);
    case TokenizerModel::unigram:
      return std::make_unique<GgufUnigram>(data);
    default:
      fail(ErrorKind::unsupported, "a GGUF file cannot hold this kind of vocabulary");
  }
}

}  // namespace nibble
