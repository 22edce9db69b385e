#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace nibble {

/// Whether AddressSanitizer watches this build. Parts of one block are neighbours that it cannot tell apart,
/// so each part is then an allocation of exactly its bytes.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool parts_are_watched = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool parts_are_watched = true;
#else
inline constexpr bool parts_are_watched = false;
#endif
#else
inline constexpr bool parts_are_watched = false;
#endif

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

/// Asks for large pages where memory was not touched yet; whoever gave it keeps it.
void want_huge_pages(void* at, size_t bytes) noexcept;

/// n elements of large pages for a vector that is empty. Throws std::bad_alloc.
template <class T>
void resize_in_huge_pages(std::vector<T>& v, size_t n) {
  v.reserve(n);
  want_huge_pages(v.data(), n * sizeof(T));
  v.resize(n);
}

/// An array of zeros in large pages (a copy is the same array), each of which is cleared by whichever thread
/// uses it first: a vector's are cleared, and then filled with zeros once more, by the one thread that makes
/// it.
template <class T>
class LargeArray {
 public:
  LargeArray() = default;
  /// Throws std::bad_alloc.
  explicit LargeArray(size_t n) : memory_(HugeMemory().take(n * sizeof(T))), size_(n) {}

  T* data() const noexcept { return reinterpret_cast<T*>(memory_.get()); }
  size_t size() const noexcept { return size_; }
  T& operator[](size_t i) const noexcept { return data()[i]; }

 private:
  std::shared_ptr<std::byte> memory_;
  size_t size_ = 0;
};

/// Bytes that programs could still take without others being pushed out (MemAvailable); 0 where the system
/// does not say.
size_t available_memory();

}  // namespace nibble
