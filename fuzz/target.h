#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace nibble::fuzz {

/// Runs a reader over arbitrary bytes. It may refuse them with an Error that is the file's fault; any other
/// exception is a finding.
template <class Reader>
int run(const uint8_t* data, size_t size, Reader&& reader) {
  try {
    reader(std::span<const std::byte>(reinterpret_cast<const std::byte*>(data), size));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_input && e.kind() != ErrorKind::unsupported) throw;
  }
  return 0;
}

inline std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace nibble::fuzz
