#include "tokenizers/vocab.h"

namespace nibble {

Vocab::Vocab(const TokenizerData& data, bool last_wins) {
  bytes_.fill(-1);
  ids_.reserve(data.tokens.size());
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const auto [entry, inserted] = ids_.try_emplace(data.tokens[i], id);
    if (!inserted && last_wins) entry->second = id;
  }
  for (const auto& [piece, id] : ids_)
    if (const int byte = byte_of_piece(piece); byte >= 0) bytes_[static_cast<size_t>(byte)] = id;
}

int byte_of_piece(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace nibble
