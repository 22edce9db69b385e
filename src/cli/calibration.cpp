#include "cli/calibration.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

namespace nibble::cli {

void CalibrationWords::add_to(CLI::App& app) {
  constexpr auto most = std::numeric_limits<int64_t>::max();
  app.add_option("--samples", choice.samples, "sequences to calibrate on; 0: all that the text has")
      ->check(CLI::Range(int64_t{0}, most))
      ->capture_default_str();
  app.add_option("--length", choice.length,
                 "tokens of a sequence (default: 512, or what the model was trained on)")
      ->check(CLI::Range(int64_t{2}, most));
  app.add_option("--seed", choice.seed, "draw the sequences by this seed (default 0: the first of the text)");
}

void CalibrationWords::fall_back_on(const CalibrationChoice& recipe) {
  const CalibrationChoice usual;
  if (choice.source.empty()) choice.source = recipe.source;
  if (choice.samples == usual.samples) choice.samples = recipe.samples;
  if (choice.length == usual.length) choice.length = recipe.length;
  if (choice.seed == usual.seed) choice.seed = recipe.seed;
}

CalibrationText CalibrationWords::text(const Checkpoint& model, const Common& common,
                                       ThreadPool& pool) const {
  Progress progress(common.progress_style());
  if (choice.source.empty()) {
    if (!common.quiet && !common.json)
      fmt::print(stderr, "no text to calibrate on is given (--calibrate FILE): the model writes its own\n");
    progress.start("writing text", static_cast<uint64_t>(choice.samples > 0 ? choice.samples : 128),
                   "sequences");
  }
  CalibrationText text = calibration_text(model, choice, pool, [&] { progress.advance(1); });
  if (choice.source.empty()) progress.finish();
  if (!common.quiet && !common.json) fmt::print(stderr, "calibrating on {}\n", text.description);
  return text;
}

}  // namespace nibble::cli
