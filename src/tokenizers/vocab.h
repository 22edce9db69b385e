#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "tokenizers/data.h"

namespace nibble {

/// Entry → id, over the strings of a TokenizerData that must outlive it. Of equal entries the last one counts
/// where `last_wins`, else the first.
class Vocab {
 public:
  explicit Vocab(const TokenizerData& data, bool last_wins = false);

  int32_t find(std::string_view piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? -1 : found->second;
  }
  /// Id of the token `<0xHH>` of each byte, or -1.
  const std::array<int32_t, 256>& bytes() const noexcept { return bytes_; }

 private:
  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<int32_t, 256> bytes_;
};

/// The byte that `<0xHH>` stands for, or -1.
int byte_of_piece(std::string_view piece) noexcept;

}  // namespace nibble
