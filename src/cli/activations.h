#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/rewrites/activations.h"

namespace nibble::cli {

/// `--activations` and `--act-keep`.
struct ActivationOptions {
  std::string word;
  std::vector<std::string> keep;

  void add_to(CLI::App& app);
  /// Nothing without `--activations`. Throws Error{usage} for a word that is none.
  std::optional<ActivationPlan> plan() const;
};

}  // namespace nibble::cli
