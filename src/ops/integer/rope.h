#pragma once

#include "ops/op.h"

namespace nibble {

/// RopeTable in whole numbers: 2^64 is a whole turn, so that a position times a frequency, cut to 64 bits, is
/// the angle itself, however far the position.
struct IntegerRopeTable {
  std::vector<uint64_t> turns, long_turns;  ///< by pair; the latter as RopeTable::long_frequency
  int64_t long_from = 0;
  int32_t magnitude = 1 << 30;  ///< times 2^(magnitude_bits - 30)
  int magnitude_bits = 0;
};

/// Rotates the heads of each row by the positions of the batch, in whole numbers.
extern const Op integer_rope_op;

struct IntegerRope {
  std::shared_ptr<const IntegerRopeTable> table;
  int64_t head_dim = 0;
  bool interleaved = false;  ///< as RopeAttributes
};

}  // namespace nibble
