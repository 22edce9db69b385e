#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace nibble {

/// Walks over little-endian bytes of a file and refuses to leave them: every error names the file, the offset
/// and what was expected there.
class ByteReader {
  static_assert(std::endian::native == std::endian::little, "numbers are copied as the file stores them");

 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view file, uint64_t offset = 0)
      : bytes_(bytes), file_(file), at_(offset) {}

  uint64_t offset() const noexcept { return at_; }
  uint64_t left() const noexcept { return bytes_.size() - at_; }
  std::string_view file() const noexcept { return file_; }

  /// The next n bytes; `what` tells the user what they should have been.
  std::span<const std::byte> take(uint64_t n, std::string_view what) {
    if (n > left()) bad("expected {} of {} bytes, but the file ends after {}", what, n, left());
    const auto taken = bytes_.subspan(at_, n);
    at_ += n;
    return taken;
  }

  template <class T>
  T number(std::string_view what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view text(uint64_t n, std::string_view what) {
    const auto taken = take(n, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  template <class... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    std::string message = fmt::format(format, std::forward<Args>(args)...);
    for (char& c : message) {
      if (static_cast<unsigned char>(c) < 0x20) c = '?';  // it may quote the file
    }
    fail(ErrorKind::bad_input, "{}: offset {}: {}", file_, at_, message);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view file_;
  uint64_t at_ = 0;
};

}  // namespace nibble
