#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/rewrites/activations.h"

namespace nibble::cli {

/// `--activations` and what goes with it.
struct ActivationOptions {
  std::string word, ranges, rule;
  std::vector<std::string> keep;

  void add_to(CLI::App& app);
  /// Nothing without `--activations`. Throws Error{usage} for a word that is none.
  std::optional<ActivationPlan> plan() const;
  /// The same, or else what the model's file says.
  std::optional<ActivationPlan> plan_for(const Checkpoint& model) const;
};

}  // namespace nibble::cli
