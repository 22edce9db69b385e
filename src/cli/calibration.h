#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "calibrate/text.h"
#include "cli/verb.h"
#include "pipeline/stats_source.h"

namespace nibble::cli {

/// The options that say what to calibrate on.
struct CalibrationWords {
  std::string source;  ///< CalibrationChoice::source
  std::optional<int64_t> samples, length;
  std::optional<uint64_t> seed;
  std::optional<bool> fast;

  void add_to(CLI::App& app);
  /// What the options say, and `otherwise` where they are silent.
  CalibrationChoice choice(const CalibrationChoice& otherwise = {}) const;
  /// Takes from a recipe what no option said.
  void fall_back_on(const CalibrationChoice& recipe);
  /// The options that say how to collect statistics, as they were given; empty: none.
  std::string how() const;

  /// Reads (or lets the model write) the text, with progress.
  CalibrationText text(const Checkpoint& model, const Common& common, ThreadPool& pool) const;
};

}  // namespace nibble::cli
