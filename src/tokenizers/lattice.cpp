#include "tokenizers/lattice.h"

#include <algorithm>
#include <cfloat>

#include "tokenizers/utf8.h"

namespace nibble {

namespace {
constexpr float unknown_penalty = 10.0f;
}

Lattice::Lattice(const TokenizerData& data, Precision precision, UserScore user_score, bool skip_unused)
    : scores_(data.tokens.size()), precision_(precision) {
  float low = FLT_MAX, high = -FLT_MAX;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] != TokenType::normal && user_score != UserScore::own) continue;
    low = std::min(low, data.scores[i]);
    high = std::max(high, data.scores[i]);
  }
  unknown_score_ = precision == Precision::f32 ? static_cast<double>(low - unknown_penalty)
                                               : static_cast<double>(low) - unknown_penalty;
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const TokenType type = data.types[i];
    scores_[i] = data.scores[i];
    if (type == TokenType::user_defined && user_score == UserScore::zero) scores_[i] = 0;
    if (type == TokenType::user_defined && user_score == UserScore::longest)
      scores_[i] = static_cast<float>(data.tokens[i].size()) * high - 0.1;
    const bool usable = type == TokenType::normal || type == TokenType::user_defined ||
                        (type == TokenType::unused && !skip_unused) || user_score == UserScore::own;
    if (usable) keys.emplace_back(data.tokens[i], static_cast<int32_t>(i));
  }
  trie_ = Trie(std::move(keys));
}

std::vector<Lattice::Piece> Lattice::best(std::string_view text) const {
  struct Node {
    double score = 0;
    int64_t from = -1;  ///< -1: not reached
    int32_t id = -1;
  };
  std::vector<Node> nodes(text.size() + 1);
  const auto offer = [&](size_t from, size_t to, int32_t id, double score) {
    if (nodes[to].from >= 0 && !(score > nodes[to].score)) return;
    nodes[to] = {precision_ == Precision::f32 ? static_cast<double>(static_cast<float>(score)) : score,
                 static_cast<int64_t>(from), id};
  };
  for (size_t at = 0; at < text.size();) {
    const size_t step = std::min(utf8::announced_length(text[at]), text.size() - at);
    const double here = nodes[at].score;
    bool single = false;
    uint32_t node = Trie::root;
    for (size_t end = at; end < text.size() && !trie_.empty(); ++end) {
      node = trie_.child(node, text[end]);
      if (node == Trie::none) break;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      offer(at, end + 1, id, scores_[static_cast<size_t>(id)] + here);
      single = single || end + 1 - at == step;
    }
    if (!single) offer(at, at + step, -1, unknown_score_ + here);
    at += step;
  }
  std::vector<Piece> pieces;
  for (size_t end = text.size(); end > 0;) {
    const auto from = static_cast<size_t>(nodes[end].from);
    pieces.push_back({from, end - from, nodes[end].id});
    end = from;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace nibble
