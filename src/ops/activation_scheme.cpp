#include "ops/activation_scheme.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tensor/format_spec.h"

namespace nibble {
namespace {

constexpr std::string_view range_names[] = {"token", "tensor", "static", "adaptive"};

[[noreturn]] void no_scheme(std::string_view word, std::string_view part) {
  throw Error(ErrorKind::usage, fmt::format("'{}' does not say how to round activations: '{}'", word, part),
              "int8[:token|tensor|static|adaptive][:asym][:outliers=6], int2 to int8; integer-only");
}

}  // namespace

ActivationScheme ActivationScheme::parse(std::string_view word) {
  const FormatSpec spec = FormatSpec::parse(word);
  ActivationScheme s;
  const std::string& name = spec.name;
  if (name == "float" && spec.options.empty()) {
    s.bits = 0;
    return s;
  }
  if (name == "integer-only" && spec.options.empty()) {
    s.integer_only = true;
    return s;
  }
  if (name.size() != 4 || !name.starts_with("int") || name[3] < '2' || name[3] > '8') no_scheme(word, name);
  s.bits = name[3] - '0';
  for (const std::string& option : spec.options) {
    const auto* range = std::find(std::begin(range_names), std::end(range_names), option);
    if (range != std::end(range_names)) {
      s.range = static_cast<Range>(range - std::begin(range_names));
    } else if (option == "asym") {
      s.asymmetric = true;
    } else if (constexpr std::string_view key = "outliers="; option.starts_with(key)) {
      const char* end = option.data() + option.size();
      const auto [at, error] = std::from_chars(option.data() + key.size(), end, s.outliers);
      if (error != std::errc{} || at != end || !(s.outliers > 0) || !std::isfinite(s.outliers))
        no_scheme(word, option);
    } else {
      no_scheme(word, option);
    }
  }
  return s;
}

std::string ActivationScheme::to_string() const {
  if (bits == 0) return "float";
  if (integer_only) return "integer-only";
  std::string word = fmt::format("int{}", bits);
  if (range != Range::token) word += fmt::format(":{}", range_names[static_cast<size_t>(range)]);
  if (asymmetric) word += ":asym";
  if (std::isfinite(outliers)) word += fmt::format(":outliers={}", outliers);
  return word;
}

ActivationGrid ActivationScheme::grid() const {
  ActivationGrid g;
  g.bits = bits;
  g.asymmetric = asymmetric;
  g.outliers = outliers;
  if (range == Range::tensor) g.range = ActivationGrid::Range::tensor;
  if (range == Range::fixed || range == Range::adaptive) g.range = ActivationGrid::Range::fixed;
  return g;
}

}  // namespace nibble
