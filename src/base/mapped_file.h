#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace nibble {

/// A whole file mapped read-only. Copies share the mapping; views into data() live as long as any copy.
class MappedFile {
 public:
  /// Maps `path`. Throws Error{io} if it cannot be opened, Error{bad_input} if it is a directory or no
  /// regular file.
  explicit MappedFile(const std::string& path);

  std::span<const std::byte> data() const noexcept;
  size_t size() const noexcept { return data().size(); }
  const std::string& path() const noexcept;

  /// Tells the system that pages in [offset, offset + length) will not be used soon: they leave resident
  /// memory.
  void release(size_t offset, size_t length) const noexcept;

 private:
  struct Mapping;
  std::shared_ptr<const Mapping> mapping_;
};

/// Maps the pages of mapped memory that is about to be read all at once: a fault for each few costs twice as
/// much. A hint; where the system does not know it, nothing happens.
void want_pages(std::span<const std::byte> bytes) noexcept;

}  // namespace nibble
