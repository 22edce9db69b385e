#include "pipeline/recipe_file.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr Preset table[] = {
#define PRESET(name, type, gguf_type, solver, passes, transforms, activations, summary) \
  {name, type, gguf_type, solver, passes, transforms, activations, summary},
#include "pipeline/presets.inc"
#undef PRESET
};

RecipeText of_preset(const Preset& p) {
  RecipeText t;
  t.recipe.type = p.type;
  t.recipe.solver = p.solver;
  t.recipe.activations = p.activations;
  t.gguf_type = p.gguf_type;
  if (p.passes >= 0) t.recipe.options.passes = p.passes;
  std::istringstream in{std::string(p.transforms)};
  for (std::string word; std::getline(in, word, ',');) t.recipe.with.push_back(word);
  return t;
}

void read_calibration(const Json& j, CalibrationChoice& c) {
  for (const auto& [key, value] : j.items()) {
    if (key == "text")
      c.source = value.get<std::string>();
    else if (key == "samples")
      c.samples = value.get<int64_t>();
    else if (key == "length")
      c.length = value.get<int64_t>();
    else if (key == "seed")
      c.seed = value.get<uint64_t>();
    else if (key == "fast")
      c.fast = value.get<bool>();
    else
      fail(ErrorKind::bad_input, "calibration has no '{}'", key);
  }
}

RecipeText of_json(const Json& j) {
  RecipeText t;
  for (const auto& [key, value] : j.items()) {
    if (key == "type") {
      t.recipe.type = value.get<std::string>();
    } else if (key == "solver") {
      t.recipe.solver = value.get<std::string>();
    } else if (key == "with") {
      t.recipe.with = value.get<std::vector<std::string>>();
    } else if (key == "activations") {
      t.recipe.activations = value.get<std::string>();
    } else if (key == "activations_keep") {
      t.recipe.activations_keep = value.get<std::vector<std::string>>();
    } else if (key == "range") {
      t.recipe.range = value.get<std::string>();
    } else if (key == "pure") {
      t.recipe.pure = value.get<bool>();
    } else if (key == "damping") {
      t.recipe.options.damping = value.get<double>();
    } else if (key == "passes") {
      t.recipe.options.passes = value.get<int>();
    } else if (key == "act_order") {
      t.recipe.options.act_order = value.get<bool>();
    } else if (key == "static_groups") {
      t.recipe.options.static_groups = value.get<bool>();
    } else if (key == "tensor") {
      for (const auto& [pattern, format] : value.items())
        t.recipe.overrides.push_back({pattern, format.get<std::string>()});
    } else if (key == "keep") {
      for (const auto& pattern : value) t.recipe.overrides.push_back({pattern.get<std::string>(), "keep"});
    } else if (key == "allow_substitution") {
      t.recipe.allow_substitution = value.get<bool>();
    } else if (key == "calibration") {
      read_calibration(value, t.calibration);
    } else {
      fail(ErrorKind::bad_input, "a recipe has no '{}'", key);
    }
  }
  if (t.recipe.options.damping < 0 || t.recipe.options.damping > 1 || t.recipe.options.passes < 0 ||
      t.calibration.samples < 0 || t.calibration.length < 0)
    fail(ErrorKind::bad_input, "a number is out of its range");
  return t;
}

}  // namespace

std::span<const Preset> presets() { return table; }

RecipeText read_recipe(const std::string& word) {
  for (const Preset& p : table) {
    if (p.name == word) return of_preset(p);
  }
  std::ifstream in(word, std::ios::binary);
  if (!in || std::filesystem::is_directory(word)) {
    std::string names;
    for (const Preset& p : table) names += (names.empty() ? "" : ", ") + std::string(p.name);
    throw Error(ErrorKind::usage, fmt::format("'{}' is neither a recipe's name nor a file", word),
                "there are: " + names);
  }
  std::ostringstream text;
  text << in.rdbuf();
  try {
    const Json j = Json::parse(text.str());
    if (!j.is_object()) fail(ErrorKind::bad_input, "expected a JSON object");
    return of_json(j);
  } catch (const Json::exception& e) {
    fail(ErrorKind::bad_input, "{}: {}", word, e.what());
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("{}: {}", word, e.what()),
                "the keys are type, solver, with, pure, damping, passes, act_order, static_groups, tensor, "
                "keep, allow_substitution, activations, activations_keep, range and calibration");
  }
}

std::string recipe_json(const RecipeText& t) {
  Json j{{"type", t.recipe.type}, {"solver", t.recipe.solver}};
  if (t.recipe.pure) j["pure"] = true;
  if (!t.recipe.with.empty()) j["with"] = t.recipe.with;
  if (!t.recipe.activations.empty()) j["activations"] = t.recipe.activations;
  if (!t.recipe.activations_keep.empty()) j["activations_keep"] = t.recipe.activations_keep;
  if (t.recipe.range != Recipe().range) j["range"] = t.recipe.range;
  j["damping"] = t.recipe.options.damping;
  j["passes"] = t.recipe.options.passes;
  if (t.recipe.options.act_order) j["act_order"] = true;
  if (t.recipe.options.static_groups) j["static_groups"] = true;
  for (const Recipe::Override& o : t.recipe.overrides) {
    if (o.format == "keep")
      j["keep"].push_back(o.pattern);
    else
      j["tensor"][o.pattern] = o.format;
  }
  if (t.recipe.allow_substitution) j["allow_substitution"] = true;
  if (!t.calibration.source.empty()) j["calibration"]["text"] = t.calibration.source;
  j["calibration"]["samples"] = t.calibration.samples;
  j["calibration"]["length"] = t.calibration.length;
  j["calibration"]["seed"] = t.calibration.seed;
  if (t.calibration.fast) j["calibration"]["fast"] = true;
  return j.dump(2) + "\n";
}

}  // namespace nibble
