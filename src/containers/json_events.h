#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace nibble {

/// null, true, a number (unsigned only beyond INT64_MAX), a string.
using JsonScalar = std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string>;

/// Hears a JSON document piece by piece. What it refuses, it refuses by calling fail_at of its JsonPlace.
class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  virtual void begin_object() = 0;
  virtual void key(std::string name) = 0;
  virtual void end_object() = 0;
  virtual void begin_array() = 0;
  virtual void end_array() = 0;
  virtual void scalar(JsonScalar value) = 0;
};

/// Where a parser stands in a file, for messages.
struct JsonPlace {
  std::string file;
  uint64_t offset = 0;  ///< of the byte after the piece last heard, from the beginning of the file

  /// Throws Error{bad_input} "FILE: offset N: message".
  [[noreturn]] void bad(std::string_view message) const;
};

struct JsonLimits {
  size_t depth = 64;             ///< of nested objects and arrays
  size_t values = 16'000'000;    ///< scalars, keys, objects and arrays together
  size_t longest_key = 1 << 16;  ///< bytes
};

/// Parses strict JSON without building a tree. `place.offset` must hold where `text` begins in its file and
/// is moved along. Throws Error{bad_input} with file and byte offset for anything malformed, for a key that
/// occurs twice in one object, and beyond the limits.
void parse_json(std::string_view text, JsonPlace& place, JsonHandler& handler, const JsonLimits& limits = {});

}  // namespace nibble
