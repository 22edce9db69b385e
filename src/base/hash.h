#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace nibble {

/// 128-bit XXH3 of a stream of bytes, printed as 32 hexadecimal digits. Detects damage; not for security.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void update(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  void* state_;
};

std::string hash_hex(std::span<const std::byte> bytes);

}  // namespace nibble
