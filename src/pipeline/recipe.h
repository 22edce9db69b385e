#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "methods/solver.h"
#include "methods/transforms/rotation.h"
#include "ops/activation_scheme.h"

namespace nibble {

/// What the user asked for, in words: the outcome must not depend on anything else but the input.
struct Recipe {
  struct Override {
    std::string pattern;  ///< glob over tensor names
    std::string format;   ///< a format word, or "keep"
  };

  std::string type;                 ///< a mix (q4_k_m) or a format word (int4:g128:asym)
  bool pure = false;                ///< a mix's base format for every matrix
  std::vector<Override> overrides;  ///< the last one that matches counts
  bool allow_substitution = false;
  bool allow_requantize = false;  ///< accept a source that is already quantized
  std::string solver = "nearest";
  SolverOptions options;
  std::vector<std::string> with;  ///< transforms of the model before it is rounded: "rotate", "awq"
  /// How the file asks for its activations to be rounded at run time, and which matrices keep floats;
  /// nothing: it does not ask.
  std::optional<ActivationScheme> activations;
  std::vector<std::string> activations_keep;
  std::string range = "minmax";  ///< how a static range is found (calibrate/range_rule.h)
  std::string statistics;        ///< what they were collected on (StatsSource::identity); empty: none

  /// The rotation that stands first among the transforms, if any does. Throws Error{usage} for one that
  /// stands elsewhere: scales of channels are chosen for the rotated model.
  std::optional<RotationWord> rotation() const;
  /// Whether activations are rounded to ranges that come with the file.
  bool static_ranges() const noexcept {
    return activations && activations->range == ActivationScheme::Range::fixed;
  }
  /// What the solver, the transforms and static ranges want to know of the data. Throws Error{usage} for a
  /// word that is none.
  Needs needs() const;
  /// One line that says it all, for journals and metadata.
  std::string to_string() const;
};

/// True if the glob (`*`, `?`, `[a-z]`) matches the name, or the name without its ".weight". Whole names, not
/// parts.
bool name_matches(std::string_view pattern, std::string_view name);

/// Splits "PATTERN=FORMAT". Throws Error{usage}.
Recipe::Override parse_override(std::string_view text);

}  // namespace nibble
