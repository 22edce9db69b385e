#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace nibble {

/// What went wrong, in the terms of whoever has to act on it. The program's exit code follows from it.
enum class ErrorKind {
  usage,        ///< the command or recipe asks for something that makes no sense (exit 2)
  bad_input,    ///< a file is damaged, hostile or not what it claims to be (exit 3)
  unsupported,  ///< well-formed, but nibble cannot do it (exit 4)
  io,           ///< the operating system refused: no such file, no space left (exit 3)
  interrupted,  ///< the user asked to stop (exit 130)
  internal,     ///< a bug in nibble (exit 1)
};

/// The one exception type that crosses room borders: a message for the user and, where one is known, a way
/// out.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = {})
      : std::runtime_error(message), kind_(kind), hint_(std::move(hint)) {}

  ErrorKind kind() const noexcept { return kind_; }
  const std::string& hint() const noexcept { return hint_; }
  int exit_code() const noexcept;

 private:
  ErrorKind kind_;
  std::string hint_;
};

/// Throws Error with a formatted message and no hint.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nibble
