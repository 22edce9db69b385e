#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace nibble {

/// Merges neighbouring symbols of one text, best first (sentencepiece's BPE), in O(n log n).
class ScoreMerge {
 public:
  struct Symbol {
    uint32_t begin, length;  ///< bytes of the text; length 0 once merged away
    int32_t prev, next;      ///< neighbours, -1 at the ends
    bool frozen;             ///< takes no part in merges
  };
  struct Candidate {
    int32_t id;  ///< -1: the joined text is no piece
    float score;
  };

  /// Joins symbols of `text` as long as lookup(joined) gives a Candidate with an id. proposed(joined, size of
  /// the left half) is told of each. `text` < 2 GiB; the symbols must cover it in order.
  template <class Lookup, class Proposed>
  void run(std::string_view text, std::vector<Symbol>& symbols, const Lookup& lookup,
           const Proposed& proposed);

 private:
  struct Pair {
    float score;
    int32_t left, right;
    uint32_t size;
    bool operator<(const Pair& other) const noexcept {
      return score < other.score || (score == other.score && left > other.left);
    }
  };
  std::vector<Pair> heap_;
};

template <class Lookup, class Proposed>
void ScoreMerge::run(std::string_view text, std::vector<Symbol>& symbols, const Lookup& lookup,
                     const Proposed& proposed) {
  heap_.clear();
  const auto propose = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const Symbol& a = symbols[static_cast<size_t>(left)];
    const Symbol& b = symbols[static_cast<size_t>(right)];
    if (a.frozen || b.frozen) return;
    const std::string_view joined = text.substr(a.begin, a.length + b.length);
    const Candidate found = lookup(joined);
    if (found.id < 0) return;
    proposed(joined, a.length);
    heap_.push_back({found.score, left, right, a.length + b.length});
    std::push_heap(heap_.begin(), heap_.end());
  };
  for (size_t i = 1; i < symbols.size(); ++i) propose(static_cast<int32_t>(i - 1), static_cast<int32_t>(i));
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end());
    const Pair best = heap_.back();
    heap_.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.left)];
    Symbol& right = symbols[static_cast<size_t>(best.right)];
    // A symbol that has changed since makes the proposal void.
    if (left.length == 0 || right.length == 0 || left.length + right.length != best.size) continue;
    left.length += right.length;
    right.length = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].prev = best.left;
    propose(left.prev, best.left);
    propose(best.left, left.next);
  }
}

}  // namespace nibble
