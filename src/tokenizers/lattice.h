#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizers/data.h"
#include "tokenizers/trie.h"

namespace nibble {

/// Best-scoring segmentation into pieces (unigram language model, Kudo 2018), by dynamic programming over
/// byte positions.
class Lattice {
 public:
  /// sentencepiece keeps path scores in f32, tokenizers and llama.cpp in f64: ties break differently.
  enum class Precision { f32, f64 };
  enum class UserScore {
    longest,  ///< sentencepiece: a user-defined piece always wins
    zero,     ///< llama.cpp: as likely as certainty
    own,      ///< tokenizers: as any other piece
  };

  /// Pieces of `data` of the types normal, user-defined and (unless `skip_unused`) unused.
  Lattice(const TokenizerData& data, Precision precision, UserScore user_score, bool skip_unused);

  struct Piece {
    size_t begin, length;
    int32_t id;  ///< -1: no piece covers this code point
  };
  /// Segments of `text` in order. `text` is valid UTF-8.
  std::vector<Piece> best(std::string_view text) const;

 private:
  Trie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  Precision precision_;
};

}  // namespace nibble
