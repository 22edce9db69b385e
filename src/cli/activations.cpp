#include "cli/activations.h"

#include <algorithm>

#include "calibrate/stats_folder.h"
#include "model/activation_note.h"

namespace nibble::cli {
namespace {

/// Ranges of the inputs of all matrices that a folder of statistics knows.
std::map<std::string, InputRange, std::less<>> ranges_of(const std::string& path) {
  constexpr std::string_view suffix = ".weight";
  std::map<std::string, InputRange, std::less<>> ranges;
  const StatsFolder folder = StatsFolder::open(path);
  for (int64_t part = 0; part < folder.about().parts; ++part) {
    for (const InputStats& s : folder.read(part)) {
      if (s.rows == 0) continue;
      const InputRange range{*std::min_element(s.min.begin(), s.min.end()),
                             *std::max_element(s.max.begin(), s.max.end())};
      for (std::string name : s.readers) {
        if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
        ranges[name] = range;
      }
    }
  }
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
}

std::optional<ActivationPlan> ActivationOptions::plan() const {
  if (word.empty()) {
    if (!keep.empty() || !ranges.empty())
      throw Error(ErrorKind::usage, "--act-keep and --act-ranges need --activations", "");
    return std::nullopt;
  }
  ActivationPlan plan{ActivationScheme::parse(word), keep, {}};
  if (!ranges.empty()) plan.ranges = ranges_of(ranges);
  return plan;
}

std::optional<ActivationPlan> ActivationOptions::plan_for(const Checkpoint& model) const {
  std::optional<ActivationPlan> given = plan();
  return given ? given : activation_plan(model);
}

}  // namespace nibble::cli
