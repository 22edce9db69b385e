// Byte-pair encoding with ranked merges: tokenizer.json's BPE, and llama.cpp's for GGUF files.
#include <algorithm>
#include <deque>
#include <unordered_map>

#include "base/error.h"
#include "tokenizers/checks.h"
#include "tokenizers/utf8.h"
#include "tokenizers/word_model.h"

namespace nibble {

namespace {

class Bpe : public WordModel {
 public:
  Bpe(const TokenizerData& data, const Vocab& vocab)
      : data_(data), vocab_(vocab), lenient_(data.source == TokenizerSource::gguf) {
    merges_.reserve(data.merges.size());
    for (size_t rank = 0; rank < data.merges.size(); ++rank) {
      const auto& [left, right] = data.merges[rank];
      std::string_view tail = right;
      const std::string& mark = data.continuing_prefix;
      if (!mark.empty() && tail.starts_with(mark)) tail.remove_prefix(mark.size());
      const int32_t a = symbol(left, rank), b = symbol(right, rank);
      const int32_t joined = symbol(left + std::string(tail), rank);
      merges_.try_emplace(key(a, b), Merge{static_cast<int32_t>(rank), joined});
    }
  }

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    if (word.empty()) return;
    if (data_.ignore_merges || (lenient_ && newlines_whole(word))) {
      const int32_t id = vocab_.find(word);
      // Text that merely spells a control token is not that token.
      if (id >= 0 && (lenient_ || data_.types[static_cast<size_t>(id)] != TokenType::control)) {
        ids.push_back(id);
        return;
      }
    }
    std::vector<Symbol> symbols;
    split(word, symbols);
    merge(symbols);
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[static_cast<size_t>(i)].next)
      put(symbols[static_cast<size_t>(i)], ids);
  }

 private:
  struct Symbol {
    int32_t id;  ///< of the vocabulary, or of `extra_` behind it; -1: neither
    int32_t prev, next;
    std::string_view text;
    bool alive;
  };
  struct Merge {
    int32_t rank, id;
  };
  struct Pair {
    int32_t rank, left, right, id;
    bool operator<(const Pair& other) const noexcept {
      return rank > other.rank || (rank == other.rank && left > other.left);
    }
  };

  static uint64_t key(int32_t a, int32_t b) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32) | static_cast<uint32_t>(b);
  }

  // GGUF files may name merges of texts that are no tokens; llama.cpp merges them all the same and spells the
  // outcome in bytes.
  int32_t symbol(const std::string& text, size_t rank) {
    if (const int32_t id = vocab_.find(text); id >= 0) return id;
    if (!lenient_)
      fail(ErrorKind::bad_input, "merge {} needs the token '{}', which the vocabulary lacks", rank,
           printable(text));
    const auto found = extra_ids_.find(text);
    if (found != extra_ids_.end()) return found->second;
    const auto id = static_cast<int32_t>(data_.tokens.size() + extra_.size());
    extra_ids_.emplace(extra_.emplace_back(text), id);
    return id;
  }

  bool newlines_whole(std::string_view word) const {
    return data_.pre == "gemma4" && word.find_first_not_of('\n') == std::string_view::npos;
  }

  int32_t find(std::string_view text) const {
    if (const int32_t id = vocab_.find(text); id >= 0 || extra_ids_.empty()) return id;
    const auto found = extra_ids_.find(text);
    return found == extra_ids_.end() ? -1 : found->second;
  }

  void split(std::string_view word, std::vector<Symbol>& symbols) const {
    bool in_unknown = false;
    std::string marked;
    const auto add = [&](int32_t id, std::string_view text) {
      const auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({id, index - 1, index + 1, text, true});
    };
    const bool marks = !data_.continuing_prefix.empty() || !data_.word_suffix.empty();
    for (size_t at = 0; at < word.size();) {
      const std::string_view text = word.substr(at, utf8::decode(word.substr(at)).length);
      const bool first = at == 0;
      at += text.size();
      int32_t id = -1;
      if (marks) {
        marked.assign(first ? "" : data_.continuing_prefix);
        marked += text;
        if (at == word.size()) marked += data_.word_suffix;
        id = find(marked);
      } else {
        id = find(text);
      }
      if (id >= 0 || lenient_) {
        add(id, text);
        in_unknown = false;
      } else if (data_.byte_fallback && has_bytes(text)) {
        for (size_t i = 0; i < text.size(); ++i)
          add(vocab_.bytes()[static_cast<unsigned char>(text[i])], text.substr(i, 1));
        in_unknown = false;
      } else if (data_.unk >= 0) {
        if (!(in_unknown && data_.fuse_unk)) add(data_.unk, text);
        in_unknown = true;
      }
    }
    if (!symbols.empty()) symbols.back().next = -1;
  }

  bool has_bytes(std::string_view text) const {
    return std::all_of(text.begin(), text.end(),
                       [&](char c) { return vocab_.bytes()[static_cast<unsigned char>(c)] >= 0; });
  }

  void merge(std::vector<Symbol>& symbols) const {
    std::vector<Pair> heap;
    const auto at = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
    const auto propose = [&](int32_t left, int32_t right) {
      if (left < 0 || right < 0 || at(left).id < 0 || at(right).id < 0) return;
      const auto found = merges_.find(key(at(left).id, at(right).id));
      if (found == merges_.end()) return;
      heap.push_back({found->second.rank, left, right, found->second.id});
      std::push_heap(heap.begin(), heap.end());
    };
    for (size_t i = 1; i < symbols.size(); ++i) propose(static_cast<int32_t>(i - 1), static_cast<int32_t>(i));
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Pair best = heap.back();
      heap.pop_back();
      Symbol& left = at(best.left);
      // A neighbour that has changed since makes the proposal void.
      if (!left.alive || left.next != best.right) continue;
      Symbol& right = at(best.right);
      const auto found = merges_.find(key(left.id, right.id));
      if (found == merges_.end() || found->second.id != best.id) continue;
      left.id = best.id;
      left.text = {left.text.data(), left.text.size() + right.text.size()};
      right.alive = false;
      left.next = right.next;
      if (right.next >= 0) at(right.next).prev = best.left;
      propose(left.prev, best.left);
      propose(best.left, left.next);
    }
  }

  void put(const Symbol& symbol, std::vector<int32_t>& ids) const {
    if (symbol.id >= 0 && static_cast<size_t>(symbol.id) < data_.tokens.size()) {
      ids.push_back(symbol.id);
      return;
    }
    // No token: whatever single bytes of it are tokens.
    for (size_t i = 0; i < symbol.text.size(); ++i) {
      const int32_t id = data_.byte_fallback ? vocab_.bytes()[static_cast<unsigned char>(symbol.text[i])]
                                             : vocab_.find(symbol.text.substr(i, 1));
      if (id >= 0) ids.push_back(id);
    }
  }

  const TokenizerData& data_;
  const Vocab& vocab_;
  const bool lenient_;
  std::unordered_map<uint64_t, Merge> merges_;
  std::deque<std::string> extra_;
  std::unordered_map<std::string_view, int32_t> extra_ids_;
};

}  // namespace

std::unique_ptr<WordModel> make_bpe(const TokenizerData& data, const Vocab& vocab) {
  return std::make_unique<Bpe>(data, vocab);
}

}  // namespace nibble
