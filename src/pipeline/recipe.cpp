#include "pipeline/recipe.h"

#include <fnmatch.h>

#include "base/error.h"
#include "calibrate/range_rule.h"
#include "methods/transforms/channel_transform.h"

namespace nibble {

std::optional<RotationWord> Recipe::rotation() const {
  std::optional<RotationWord> found;
  for (size_t i = 0; i < with.size(); ++i) {
    const std::optional<RotationWord> word = RotationWord::parse(with[i]);
    if (word && i > 0)
      throw Error(ErrorKind::usage, fmt::format("'{}' does not stand first among the transforms", with[i]),
                  "the model is rotated before anything else is done to it: --with rotate,awq");
    if (word) found = word;
  }
  return found;
}

Needs Recipe::needs() const {
  Needs all = solver_of(solver).needs();
  const bool rotates = rotation().has_value();
  for (size_t i = rotates ? 1 : 0; i < with.size(); ++i) {
    const std::string& word = with[i];
    const ChannelTransform* transform = find_channel_transform(word);
    if (transform == nullptr) {
      std::string names = "rotate";
      for (const ChannelTransform* t : channel_transforms()) names += ", " + std::string(t->name());
      throw Error(ErrorKind::usage, fmt::format("there is no transform '{}'", word), "there are: " + names);
    }
    const Needs needs = transform->needs();
    all.importance = all.importance || needs.importance;
    all.hessian = all.hessian || needs.hessian;
    all.maxima = all.maxima || needs.maxima;
  }
  if (static_ranges()) {
    all.maxima = true;
    all.histogram = RangeRule::parse(range).wants_histogram();
  }
  return all;
}

std::string Recipe::to_string() const {
  std::string s = fmt::format("{}{}", type, pure ? " pure" : "");
  for (const Override& o : overrides) s += fmt::format(" {}={}", o.pattern, o.format);
  if (allow_substitution) s += " allow-substitution";
  if (allow_requantize) s += " allow-requantize";
  for (const std::string& transform : with) s += " with=" + transform;
  if (activations) s += " activations=" + activations->to_string();
  for (const std::string& pattern : activations_keep) s += " activations-keep=" + pattern;
  if (range != Recipe().range) s += " range=" + range;
  s += " solver=" + solver;
  const SolverOptions usual;
  if (options.damping != usual.damping) s += fmt::format(" damping={}", options.damping);
  if (options.passes != usual.passes) s += fmt::format(" passes={}", options.passes);
  if (options.act_order) s += " act-order";
  if (options.static_groups) s += " static-groups";
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
