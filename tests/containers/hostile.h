#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace nibble::test {

/// Bytes asked of operator new since the last call (allocation_watch.cpp).
size_t take_allocated() noexcept;

/// A damaged or malicious file, and what the refusal must say: the file's name always, these words besides.
struct Hostile {
  std::string name;
  std::string bytes;
  std::vector<std::string> says;
};

inline std::ostream& operator<<(std::ostream& out, const Hostile& h) { return out << h.name; }

inline std::span<const std::byte> bytes_of(std::string_view s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}

/// Expects `read` to throw an Error that is the file's fault, names the file and says `says`, and not to
/// allocate more than a small multiple of what the file holds.
inline void expect_refused(const std::vector<std::string>& says, size_t file_size,
                           const std::function<void()>& read) {
  take_allocated();
  try {
    read();
    FAIL() << "read without complaint";
  } catch (const Error& e) {
    const size_t allocated = take_allocated();
    EXPECT_TRUE(e.kind() == ErrorKind::bad_input || e.kind() == ErrorKind::unsupported) << e.what();
    const std::string message = e.what();
    EXPECT_NE(message.find("hostile"), std::string::npos) << "names no file: " << message;
    for (const std::string& words : says) {
      EXPECT_NE(message.find(words), std::string::npos) << "expected '" << words << "' in: " << message;
    }
    EXPECT_LT(allocated, (2u << 20) + 64 * file_size) << message;
    EXPECT_LT(message.size(), 2000u);
  }
}

/// The bytes of a number as the file stores it.
template <class T>
std::string raw(T v) {
  std::string s(sizeof v, '\0');
  std::memcpy(s.data(), &v, sizeof v);
  return s;
}

template <class Info>
std::string case_name(const Info& info) {
  return info.param.name;
}

}  // namespace nibble::test
