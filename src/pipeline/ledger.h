#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/shape.h"

namespace nibble {

/// What became of a source tensor.
enum class Fate : uint8_t { quantized, kept, substituted, dropped };
std::string_view fate_name(Fate fate) noexcept;

/// One source tensor's line.
struct LedgerLine {
  std::string source;    ///< name in the source
  std::string target;    ///< name in the output; empty when dropped
  Shape shape;           ///< in the output
  std::string from, to;  ///< format words; `to` empty when dropped
  std::string asked;     ///< what the recipe asked for, where it got something else
  Fate fate = Fate::kept;
  std::string reason;  ///< why: "norm", "matches --keep '*norm*'", "its rows of 100 are no multiple of 256"
  uint64_t bytes_in = 0, bytes_out = 0;
};

/// The account of a job: every tensor of the source is in it exactly once.
struct Ledger {
  std::vector<LedgerLine> lines;

  uint64_t bytes_out() const noexcept;
  uint64_t weights() const;
  /// Bits per weight over all tensors that were written.
  double bits_per_weight() const;
  std::map<std::string, int> count_by_format() const;
  /// JSON text: an array with one object per line.
  std::string to_json() const;
  /// A table for people.
  std::string to_text() const;
};

}  // namespace nibble
