#pragma once

#include <optional>
#include <string>

#include "model/checkpoint.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// A model's file may say how its activations are to be rounded: an annotation (containers/annotation.h) of
/// this name that holds JSON, {"scheme": WORD, "keep": [GLOB, ...], "ranges": {NODE: [LOW, HIGH], ...}}.
constexpr std::string_view activation_note_key = "nibble.activations";

/// The plan as that text.
std::string activation_note(const ActivationPlan& plan);
/// The inverse. Throws Error{bad_input} for anything that activation_note does not write.
ActivationPlan read_activation_note(const std::string& text);

/// What the model's file says; nothing where it is silent. Throws Error{bad_input}.
std::optional<ActivationPlan> activation_plan(const Checkpoint& model);

}  // namespace nibble
