#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace nibble::cli {

/// A flag that can be said either way, --NAME or --no-NAME, where a recipe may have said the other: the last
/// one counts, and nothing is set if neither is given. `value` must live as long as the app.
inline void add_switch(CLI::App& app, const std::string& name, std::optional<bool>& value,
                       const std::string& description) {
  app.add_flag_function(
         "--" + name + ",!--no-" + name, [&value](int64_t said) { value = said > 0; }, description)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

}  // namespace nibble::cli
