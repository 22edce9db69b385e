#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nibble {

/// A format as people write it: a name and options, `int4:g128:asym`, `q4_k`, `nf4:b64:dq`. This is only the
/// word, taken apart; what the options mean is known to the format's family, which also prints the canonical
/// spelling.
struct FormatSpec {
  std::string name;                  ///< lower case
  std::vector<std::string> options;  ///< lower case, in the order written

  /// Throws Error{usage} for an empty word or part, or characters outside [a-z0-9_.=-] after lower-casing.
  static FormatSpec parse(std::string_view word);
  std::string to_string() const;
  bool operator==(const FormatSpec&) const = default;
};

/// Whether every weight of a format has a meaning of its own: f32, f16, bf16.
bool is_plain_float(const FormatSpec& format);

}  // namespace nibble
