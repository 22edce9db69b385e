#include "cli/activations.h"

#include "calibrate/stats_folder.h"
#include "model/activation_note.h"
#include "pipeline/activation_ranges.h"

namespace nibble::cli {
namespace {

/// Ranges of the inputs of all matrices that a folder of statistics knows.
InputRanges ranges_of(const std::string& path, const RangeRule& rule, const ActivationScheme& scheme) {
  InputRanges ranges;
  const StatsFolder folder = StatsFolder::open(path);
  for (int64_t part = 0; part < folder.about().parts; ++part)
    for (const InputStats& s : folder.read(part)) add_ranges(ranges, s, rule, scheme);
  return ranges;
}

}  // namespace

void ActivationOptions::add_to(CLI::App& app) {
  const char* group = "Activations";
  app.add_option(
         "--activations", word,
         "round what the layers' matrices multiply: int8 (each token by itself), int8:asym, int8:tensor, "
         "int8:static, int8:adaptive, int8:outliers=6, int4 ...; integer-only: everything in whole numbers; "
         "float (default: what the model's file says)")
      ->group(group);
  app.add_option("--act-keep", keep,
                 "matrices whose input stays a float: a glob such as '*ffn_down'; may be given again")
      ->take_all()
      ->allow_extra_args(false)
      ->group(group);
  app.add_option("--act-ranges", ranges, "folder that nibble calibrate wrote: ranges for int8:static")
      ->group(group);
  app.add_option("--act-range", rule,
                 "how they follow from it: minmax (default), momentum, percentile=99.9, std=6, mse, entropy")
      ->group(group);
}

std::optional<ActivationPlan> ActivationOptions::plan() const {
  if (word.empty()) {
    if (!keep.empty() || !ranges.empty() || !rule.empty())
      throw Error(ErrorKind::usage, "--act-keep, --act-ranges and --act-range need --activations", "");
    return std::nullopt;
  }
  ActivationPlan plan{ActivationScheme::parse(word), keep, {}};
  if (!rule.empty() && ranges.empty())
    throw Error(ErrorKind::usage, "--act-range says what to make of --act-ranges FOLDER", "");
  if (!ranges.empty())
    plan.ranges = ranges_of(ranges, RangeRule::parse(rule.empty() ? "minmax" : rule), plan.scheme);
  return plan;
}

std::optional<ActivationPlan> ActivationOptions::plan_for(const Checkpoint& model) const {
  std::optional<ActivationPlan> given = plan();
  return given ? given : activation_plan(model);
}

}  // namespace nibble::cli
