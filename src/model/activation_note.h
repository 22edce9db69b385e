#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// A model's file may say how its activations are to be rounded: an annotation (containers/annotation.h) of
/// this name that holds JSON, {"scheme": WORD, "keep": [GLOB, ...], "ranges": {NODE: [LOW, HIGH], ...},
/// "turned": [NODE, ...]}. The last are matrices whose columns are turned, so that their inputs must be as
/// well (ops/turn.h): unlike the rest no wish, but a part of the model.
constexpr std::string_view activation_note_key = "nibble.activations";

/// The plan as that text.
std::string activation_note(const ActivationPlan& plan, std::span<const std::string> turned = {});
/// The inverse. Throws Error{bad_input} for anything that activation_note does not write.
ActivationPlan read_activation_note(const std::string& text);

/// Names of the matrices that read turned inputs: what the model's file says, and the change that it carries.
/// Throws Error{bad_input} for a damaged note, or names that are none of the model's down projections.
std::vector<std::string> turned_inputs(const Checkpoint& model);

/// What the model's file says; nothing where it is silent. Throws Error{bad_input}.
std::optional<ActivationPlan> activation_plan(const Checkpoint& model);

}  // namespace nibble
