#include "cli/calibration.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

#include "cli/switch.h"

namespace nibble::cli {

void CalibrationWords::add_to(CLI::App& app) {
  constexpr auto most = std::numeric_limits<int64_t>::max();
  app.add_option("--samples", samples,
                 fmt::format("sequences to calibrate on; 0: all that the text has (default {})",
                             CalibrationChoice().samples))
      ->check(CLI::Range(int64_t{0}, most));
  app.add_option("--length", length, "tokens of a sequence (default: 512, or what the model was trained on)")
      ->check(CLI::Range(int64_t{2}, most));
  app.add_option("--seed", seed, "draw the sequences by this seed (default 0: the first of the text)");
  add_switch(
      app, "fast", fast,
      "statistics from the fastest products that the machine has, many times faster with AMX; they differ "
      "a little between machines, and so does what rests on them");
}

CalibrationChoice CalibrationWords::choice(const CalibrationChoice& otherwise) const {
  return {source.empty() ? otherwise.source : source, samples.value_or(otherwise.samples),
          length.value_or(otherwise.length), seed.value_or(otherwise.seed), fast.value_or(otherwise.fast)};
}

void CalibrationWords::fall_back_on(const CalibrationChoice& recipe) {
  const CalibrationChoice all = choice(recipe);
  source = all.source;
  samples = all.samples;
  length = all.length;
  seed = all.seed;
  fast = all.fast;
}

std::string CalibrationWords::how() const {
  std::string all;
  for (const auto& [option, given] : {std::pair{"--samples", samples.has_value()},
                                      {"--length", length.has_value()},
                                      {"--seed", seed.has_value()},
                                      {"--fast", fast.value_or(false)}}) {
    if (given) all += (all.empty() ? "" : ", ") + std::string(option);
  }
  return all;
}

CalibrationText CalibrationWords::text(const Checkpoint& model, const Common& common,
                                       ThreadPool& pool) const {
  const CalibrationChoice asked = choice();
  Progress progress(common.progress_style());
  if (asked.source.empty()) {
    if (!common.quiet && !common.json)
      fmt::print(stderr, "no text to calibrate on is given (--calibrate FILE): the model writes its own\n");
    progress.start("writing text", static_cast<uint64_t>(asked.samples > 0 ? asked.samples : 128),
                   "sequences");
  }
  CalibrationText text = calibration_text(model, asked, pool, [&] { progress.advance(1); });
  if (asked.source.empty()) progress.finish();
  if (!common.quiet && !common.json) fmt::print(stderr, "calibrating on {}\n", text.description);
  return text;
}

}  // namespace nibble::cli
