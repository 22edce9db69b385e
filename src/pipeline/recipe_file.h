#pragma once

#include <span>
#include <string>
#include <string_view>

#include "calibrate/text.h"
#include "pipeline/recipe.h"

namespace nibble {

/// A recipe under a name (presets.inc).
struct Preset {
  std::string_view name, type, gguf_type, solver;
  int passes = -1;
  std::string_view transforms, activations;
  std::string_view summary;
};
std::span<const Preset> presets();

/// What a preset or a recipe file says; what it leaves open is empty.
struct RecipeText {
  Recipe recipe;
  CalibrationChoice calibration;
  std::string gguf_type =
      {};  ///< in place of the recipe's type where a GGUF file is written; empty: that type
};

/// `word` is a preset's name or a JSON file:
///   {"type": "q4_k_m", "solver": "gptq", "with": ["awq"], "tensor": {"lm_head": "int8:channel"},
///    "keep": ["*norm*"], "damping": 0.01, "passes": 6, "act_order": false, "static_groups": false,
///    "activations": "int8:static", "activations_keep": ["*ffn_down"], "range": "percentile=99.9",
///    "calibration": {"text": "wiki.txt", "samples": 128, "length": 512, "seed": 0, "fast": false}}
/// Throws Error{usage} for a name that is neither, Error{bad_input} for a file with anything else in it.
RecipeText read_recipe(const std::string& word);

/// The file that read_recipe would read so.
std::string recipe_json(const RecipeText& text);

}  // namespace nibble
