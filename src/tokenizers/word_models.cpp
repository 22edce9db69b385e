// The word models of tokenizer.json other than BPE.
#include "base/error.h"
#include "tokenizers/lattice.h"
#include "tokenizers/utf8.h"
#include "tokenizers/word_model.h"

namespace nibble {

namespace {

/// Greedy longest match; a word with a part that is no entry is unknown as a whole.
class WordPiece : public WordModel {
 public:
  WordPiece(const TokenizerData& data, const Vocab& vocab) : data_(data), vocab_(vocab) {
    for (const std::string& token : data.tokens) longest_ = std::max(longest_, token.size());
  }

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    size_t points = 0;
    for (const char c : word) points += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    const size_t before = ids.size();
    if (points <= data_.max_word) {
      std::string marked;
      for (size_t at = 0; at < word.size();) {
        int32_t id = -1;
        size_t end = std::min(word.size(), at + longest_);
        for (; end > at; --end) {
          if (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xc0) == 0x80) continue;
          marked.assign(at == 0 ? "" : data_.continuing_prefix);
          marked += word.substr(at, end - at);
          id = vocab_.find(marked);
          if (id >= 0) break;
        }
        if (id < 0) {
          ids.resize(before);
          break;
        }
        ids.push_back(id);
        at = end;
      }
    }
    if (ids.size() == before && !word.empty() && data_.unk >= 0) ids.push_back(data_.unk);
  }

 private:
  const TokenizerData& data_;
  const Vocab& vocab_;
  size_t longest_ = 0;
};

class Unigram : public WordModel {
 public:
  Unigram(const TokenizerData& data, const Vocab& vocab)
      : data_(data), vocab_(vocab), lattice_(data, Lattice::Precision::f64, Lattice::UserScore::own, false) {}

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    bool after_unknown = false;
    for (const Lattice::Piece& piece : lattice_.best(word)) {
      const bool unknown = piece.id < 0 || piece.id == data_.unk;
      if (!unknown) {
        ids.push_back(piece.id);
      } else if (!after_unknown || data_.byte_fallback) {
        put_unknown(word.substr(piece.begin, piece.length), ids);
      }
      after_unknown = unknown;
    }
  }

 private:
  void put_unknown(std::string_view text, std::vector<int32_t>& ids) const {
    const size_t before = ids.size();
    for (size_t i = 0; data_.byte_fallback && i < text.size(); ++i) {
      const int32_t id = vocab_.bytes()[static_cast<unsigned char>(text[i])];
      if (id < 0) {
        ids.resize(before);
        break;
      }
      ids.push_back(id);
    }
    if (ids.size() > before) return;
    if (data_.unk < 0)
      fail(ErrorKind::bad_input,
           "the text holds a character that the vocabulary lacks, and there is no unknown token");
    ids.push_back(data_.unk);
  }

  const TokenizerData& data_;
  const Vocab& vocab_;
  Lattice lattice_;
};

class WordLevel : public WordModel {
 public:
  WordLevel(const TokenizerData& data, const Vocab& vocab) : data_(data), vocab_(vocab) {}

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    int32_t id = vocab_.find(word);
    // Text that merely spells a control token is not that token.
    if (id < 0 || data_.types[static_cast<size_t>(id)] == TokenType::control) id = data_.unk;
    if (id < 0)
      fail(ErrorKind::bad_input,
           "the text holds a word that the vocabulary lacks, and there is no unknown token");
    ids.push_back(id);
  }

 private:
  const TokenizerData& data_;
  const Vocab& vocab_;
};

}  // namespace

std::unique_ptr<WordModel> make_word_piece(const TokenizerData& data, const Vocab& vocab) {
  return std::make_unique<WordPiece>(data, vocab);
}
std::unique_ptr<WordModel> make_unigram(const TokenizerData& data, const Vocab& vocab) {
  return std::make_unique<Unigram>(data, vocab);
}
std::unique_ptr<WordModel> make_word_level(const TokenizerData& data, const Vocab& vocab) {
  return std::make_unique<WordLevel>(data, vocab);
}

}  // namespace nibble
