#pragma once

#include <cstddef>
#include <memory>

namespace nibble {

/// Memory for large things that are written once and read again and again, in pages of 2 MiB where the system
/// gives them: a program that streams through gigabytes waits for page tables otherwise, most of all in a
/// virtual machine.
class HugeMemory {
 public:
  /// `bytes` of zeros at a multiple of 64; they live as long as any copy of the pointer. Parts share pages,
  /// which go back to the system with the last part. Throws std::bad_alloc.
  std::shared_ptr<std::byte> take(size_t bytes);

 private:
  std::shared_ptr<std::byte> chunk_;
  size_t size_ = 0, used_ = 0;
};

/// Bytes that programs could still take without others being pushed out (MemAvailable); 0 where the system
/// does not say.
size_t available_memory();

}  // namespace nibble
