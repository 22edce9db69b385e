#include "base/hash.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace nibble {
namespace {

TEST(Hasher, GivesTheSameHoweverTheBytesCome) {
  Rng rng(3);
  std::vector<std::byte> bytes(20000);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
  for (const size_t n : {0, 1, 1023, 1024, 3071, 3072, 3073, 4096, 20000}) {
    const auto all = std::span<const std::byte>(bytes).first(n);
    Hasher at_once, in_parts;
    at_once.update(all);
    for (size_t i = 0; i < n; i += 777) in_parts.update(all.subspan(i, std::min<size_t>(777, n - i)));
    EXPECT_EQ(at_once.hex(), hash_hex(all)) << n;
    EXPECT_EQ(in_parts.hex(), hash_hex(all)) << n;
  }
}

}  // namespace
}  // namespace nibble
