#include "tensor/format_spec.h"

#include "base/error.h"

namespace nibble {

FormatSpec FormatSpec::parse(std::string_view word) {
  std::vector<std::string> parts(1);
  for (const char c : word) {
    const char low = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    if (low == ':') {
      parts.emplace_back();
    } else if ((low >= 'a' && low <= 'z') || (low >= '0' && low <= '9') || low == '_' || low == '.' ||
               low == '=' || low == '-') {
      parts.back() += low;
    } else {
      throw Error(ErrorKind::usage, fmt::format("'{}' is not a format word", word),
                  "nibble formats lists them");
    }
  }
  for (const std::string& part : parts) {
    if (part.empty()) {
      throw Error(ErrorKind::usage, fmt::format("'{}' is not a format word: it has an empty part", word),
                  "write it like int4:g128:asym; nibble formats lists them");
    }
  }
  FormatSpec spec;
  spec.name = parts.front();
  spec.options.assign(parts.begin() + 1, parts.end());
  return spec;
}

std::string FormatSpec::to_string() const {
  std::string s = name;
  for (const std::string& option : options) s += ":" + option;
  return s;
}

bool is_plain_float(const FormatSpec& format) {
  return format.options.empty() && (format.name == "f32" || format.name == "f16" || format.name == "bf16");
}

}  // namespace nibble
