#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/op.h"

namespace nibble {

/// Keys and values of one sequence for every layer of a program. Memory grows with the sequence, up to
/// `capacity` tokens.
class KvCache {
 public:
  /// `cols` is kv heads * head size; `type` f32 (exact), f16 (half the memory), or i16 with one more column
  /// per head for exponents (ops/integer/attention.h). Throws Error{usage} for another type or a capacity
  /// below 1.
  KvCache(int64_t layers, int64_t cols, int64_t capacity, DType type = DType::f32);

  int64_t length() const noexcept { return length_; }
  int64_t capacity() const noexcept { return capacity_; }
  DType type() const noexcept { return type_; }
  /// Bytes held now.
  size_t bytes() const noexcept;

  /// Forgets the tokens from `length` on.
  void truncate(int64_t length);
  void clear() { truncate(0); }

  /// Makes room for `rows` more tokens. Throws Error{usage} if they do not fit.
  void reserve(int64_t rows);
  /// The tokens just written count from now on.
  void advance(int64_t rows);
  std::vector<KvLayer> layers();

 private:
  int64_t cols_, capacity_, length_ = 0, room_ = 0;
  DType type_;
  std::vector<std::vector<std::byte>> keys_, values_;
};

}  // namespace nibble
