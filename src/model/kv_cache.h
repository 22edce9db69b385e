#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/huge_memory.h"
#include "ops/op.h"

namespace nibble {

/// What a KV cache holds: key heads of `dim` columns in each layer of a program.
struct KvShape {
  int64_t layers = 0, heads = 0, dim = 0;
};

/// Keys and values of one sequence for every layer of a program. Memory grows with the sequence, by half of
/// what there is or to what is asked for, up to `capacity` tokens.
class KvCache {
 public:
  /// In turn: the layers share the memory of one. For who passes all tokens at once and never looks back.
  enum class Layers : uint8_t { all, in_turn };

  /// Throws Error{usage} for a capacity below 1 and for heads that cannot be rotated where `storages` asks
  /// for it.
  KvCache(const KvShape& shape, int64_t capacity, const KvStorages& storages, Layers layers = Layers::all);
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;

  int64_t length() const noexcept { return length_; }
  int64_t capacity() const noexcept { return capacity_; }
  const KvStorages& storages() const noexcept { return storages_; }
  /// Bytes held now.
  size_t bytes() const noexcept;
  /// Bytes that a token takes, all layers together.
  double bytes_per_token() const;

  /// Forgets the tokens from `length` on.
  void truncate(int64_t length);
  void clear() { truncate(0); }
  /// Forgets all tokens and what they left in memory.
  void wipe() noexcept;

  /// Makes room for `rows` more tokens. Throws Error{usage} if they do not fit.
  void reserve(int64_t rows);
  /// The tokens just written count from now on.
  void advance(int64_t rows);
  std::vector<KvLayer> layers();

 private:
  /// Keys, or values, of a layer.
  struct Side {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };

  KvShape shape_;
  int64_t capacity_, length_ = 0, room_ = 0;
  KvStorages storages_;
  std::vector<Side> keys_, values_;
};

}  // namespace nibble
