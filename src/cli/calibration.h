#pragma once

#include <memory>
#include <string>

#include "calibrate/text.h"
#include "cli/verb.h"
#include "pipeline/stats_source.h"

namespace nibble::cli {

/// The options that say what to calibrate on.
struct CalibrationWords {
  CalibrationChoice choice;
  void add_to(CLI::App& app);
  /// Takes from a recipe what no option said.
  void fall_back_on(const CalibrationChoice& recipe);

  /// Reads (or lets the model write) the text, with progress.
  CalibrationText text(const Checkpoint& model, const Common& common, ThreadPool& pool) const;
};

}  // namespace nibble::cli
