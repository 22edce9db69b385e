#pragma once

#include <memory>
#include <optional>
#include <string>

#include "allocate/search.h"
#include "cli/calibration.h"
#include "cli/verb.h"

namespace nibble::cli {

/// The options of quantize that let nibble choose the formats.
struct SearchWords {
  std::string size, formats, curve;
  double bits = 0, kld = 0;
  SearchOptions options;

  void add_to(CLI::App& app);
  bool given() const { return !size.empty() || bits > 0 || kld > 0; }
  /// Throws Error{usage} for two goals or a size that is none.
  Goal goal() const;
};

/// What a search comes to: the recipe, and the statistics that its files were solved with.
struct FoundRecipe {
  Recipe recipe;
  std::shared_ptr<StatsSource> stats;
  std::string work;  ///< folder to delete when the file is complete
};

/// Searches formats for `base` (type left open). Works in OUTPUT.search.partial, from which a killed search
/// goes on. Prints the outcome.
FoundRecipe search_recipe(const Checkpoint& source, Target target, const Recipe& base,
                          const SearchWords& words, const CalibrationWords& calibration,
                          const std::string& output, const Common& common, ThreadPool& pool);

/// "3.5G", "500M", "13000000". Throws Error{usage} naming the option.
uint64_t bytes_of_word(const std::string& word, const std::string& option);

}  // namespace nibble::cli
