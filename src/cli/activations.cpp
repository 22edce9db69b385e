#include "cli/activations.h"

namespace nibble::cli {

void ActivationOptions::add_to(CLI::App& app) {
  const char* group = "Activations";
  app.add_option(
         "--activations", word,
         "round what the layers' matrices multiply: int8 (each token by itself), int8:asym, int8:tensor, "
         "int8:outliers=6, int4, ...")
      ->group(group);
  app.add_option("--act-keep", keep,
                 "matrices whose input stays a float: a glob such as '*ffn_down'; may be given again")
      ->take_all()
      ->allow_extra_args(false)
      ->group(group);
}

std::optional<ActivationPlan> ActivationOptions::plan() const {
  if (word.empty()) {
    if (!keep.empty()) throw Error(ErrorKind::usage, "--act-keep needs --activations", "");
    return std::nullopt;
  }
  return ActivationPlan{ActivationScheme::parse(word), keep, {}};
}

}  // namespace nibble::cli
