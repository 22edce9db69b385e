#pragma once

#include <string>
#include <string_view>

#include "kernels/kv_format.h"

namespace nibble {

/// How the keys, or the values, of a sequence are kept.
struct KvStorage {
  const KvFormat* format = nullptr;
  bool rotated = false;  ///< heads are rotated (kernels/rotation.h) before they are rounded

  /// "q8_0", "q4_0", "q4_0:plain", "q8_0:rotated": without a mark as the format itself has it.
  static KvStorage parse(std::string_view word);
  std::string to_string() const;
  bool operator==(const KvStorage&) const = default;
};

/// Keys and values, chosen separately: "q8_0" means both, "k=q8_0,v=q4_0" each.
struct KvStorages {
  KvStorage k, v;

  /// Throws Error{usage} explaining the grammar.
  static KvStorages parse(std::string_view words);
  /// The shortest words that parse to this.
  std::string to_string() const;
  bool operator==(const KvStorages&) const = default;
};

/// Keys and values that attention remembers of one sequence in one layer. Position p stands in page p / 64,
/// at slot p % 64; the pages of a head follow each other, so that one that is attended to is one stream of
/// memory. A format that joins heads lays its pages out itself: key_page and value_page are not for it.
struct KvLayer {
  KvStorage k, v;
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  int64_t heads = 0, dim = 0;  ///< key heads, columns of one
  int64_t capacity = 0;        ///< positions there is room for

  std::byte* key_page(int64_t page, int64_t head) const {
    return keys + (head * kv_pages(capacity) + page) * k.format->page_bytes(dim);
  }
  std::byte* value_page(int64_t page, int64_t head) const {
    return values + (head * kv_pages(capacity) + page) * v.format->page_bytes(dim);
  }
};

}  // namespace nibble
