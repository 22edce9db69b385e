#include "pipeline/recipe.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/error.h"

namespace nibble {

bool Recipe::has(std::string_view transform) const {
  return std::find(with.begin(), with.end(), transform) != with.end();
}

std::string Recipe::to_string() const {
  std::string s = fmt::format("{}{}", type, pure ? " pure" : "");
  for (const Override& o : overrides) s += fmt::format(" {}={}", o.pattern, o.format);
  if (allow_substitution) s += " allow-substitution";
  if (allow_requantize) s += " allow-requantize";
  for (const std::string& transform : with) s += " with=" + transform;
  s += " solver=" + solver;
  const SolverOptions usual;
  if (options.damping != usual.damping) s += fmt::format(" damping={}", options.damping);
  if (options.passes != usual.passes) s += fmt::format(" passes={}", options.passes);
  if (!statistics.empty()) s += " statistics=" + statistics;
  return s;
}

bool name_matches(std::string_view pattern, std::string_view name) {
  const std::string p(pattern);
  if (fnmatch(p.c_str(), std::string(name).c_str(), 0) == 0) return true;
  constexpr std::string_view suffix = ".weight";
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return fnmatch(p.c_str(), std::string(name).c_str(), 0) == 0;
}

Recipe::Override parse_override(std::string_view text) {
  const size_t at = text.rfind('=');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size()) {
    throw Error(
        ErrorKind::usage, fmt::format("'{}' is not PATTERN=FORMAT", text),
        "for example --tensor 'lm_head=int8:channel'; quote patterns so that the shell leaves them alone");
  }
  return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

}  // namespace nibble
