#include "pipeline/recipe_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

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
  if (!p.activations.empty()) t.recipe.activations = ActivationScheme::parse(p.activations);
  t.gguf_type = p.gguf_type;
  if (p.passes >= 0) t.recipe.options.passes = p.passes;
  std::istringstream in{std::string(p.transforms)};
  for (std::string word; std::getline(in, word, ',');) t.recipe.with.push_back(word);
  return t;
}

/// The value of a key. Throws Error{bad_input} naming the key for one of another type: a number is no truth
/// value, and nothing is rounded, cut or wrapped around to be a whole number.
template <class T>
T read(const std::string& key, const Json& value) {
  std::string_view expected = "true or false";
  bool fits = value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) {
    expected = "a text";
    fits = value.is_string();
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    expected = "a list of texts";
    fits = value.is_array() &&
           std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_string(); });
  } else if constexpr (std::is_floating_point_v<T>) {
    expected = "a number";
    fits = value.is_number();
  } else if constexpr (!std::is_same_v<T, bool>) {
    expected = std::is_unsigned_v<T> ? "a whole number that is not negative" : "a whole number";
    fits = value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>())
                                      : value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
  }
  if (!fits) fail(ErrorKind::bad_input, "'{}' is {}, expected {}", key, value.dump(), expected);
  return value.get<T>();
}

const Json& object(const std::string& key, const Json& value) {
  if (!value.is_object()) fail(ErrorKind::bad_input, "'{}' is {}, expected an object", key, value.dump());
  return value;
}

void read_calibration(const Json& j, CalibrationChoice& c) {
  for (const auto& [key, value] : j.items()) {
    if (key == "text")
      c.source = read<std::string>("calibration." + key, value);
    else if (key == "samples")
      c.samples = read<int64_t>("calibration." + key, value);
    else if (key == "length")
      c.length = read<int64_t>("calibration." + key, value);
    else if (key == "seed")
      c.seed = read<uint64_t>("calibration." + key, value);
    else if (key == "fast")
      c.fast = read<bool>("calibration." + key, value);
    else
      fail(ErrorKind::bad_input, "calibration has no '{}'", key);
  }
}

RecipeText of_json(const Json& j) {
  RecipeText t;
  for (const auto& [key, value] : j.items()) {
    if (key == "type") {
      t.recipe.type = read<std::string>(key, value);
    } else if (key == "solver") {
      t.recipe.solver = read<std::string>(key, value);
    } else if (key == "with") {
      t.recipe.with = read<std::vector<std::string>>(key, value);
    } else if (key == "activations") {
      t.recipe.activations = ActivationScheme::parse(read<std::string>(key, value));
    } else if (key == "activations_keep") {
      t.recipe.activations_keep = read<std::vector<std::string>>(key, value);
    } else if (key == "range") {
      t.recipe.range = read<std::string>(key, value);
    } else if (key == "pure") {
      t.recipe.pure = read<bool>(key, value);
    } else if (key == "damping") {
      t.recipe.options.damping = read<double>(key, value);
    } else if (key == "passes") {
      t.recipe.options.passes = read<int>(key, value);
    } else if (key == "act_order") {
      t.recipe.options.act_order = read<bool>(key, value);
    } else if (key == "static_groups") {
      t.recipe.options.static_groups = read<bool>(key, value);
    } else if (key == "tensor") {
      for (const auto& [pattern, format] : object(key, value).items())
        t.recipe.overrides.push_back({pattern, read<std::string>("tensor." + pattern, format)});
    } else if (key == "keep") {
      for (const std::string& pattern : read<std::vector<std::string>>(key, value))
        t.recipe.overrides.push_back({pattern, "keep"});
    } else if (key == "allow_substitution") {
      t.recipe.allow_substitution = read<bool>(key, value);
    } else if (key == "calibration") {
      read_calibration(object(key, value), t.calibration);
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
    const std::string keys =
        "the keys are type, solver, with, pure, damping, passes, act_order, static_groups, tensor, keep, "
        "allow_substitution, activations, activations_keep, range and calibration";
    throw Error(e.kind(), fmt::format("{}: {}", word, e.what()), e.hint().empty() ? keys : e.hint());
  }
}

std::string recipe_json(const RecipeText& t) {
  Json j{{"type", t.recipe.type}, {"solver", t.recipe.solver}};
  if (t.recipe.pure) j["pure"] = true;
  if (!t.recipe.with.empty()) j["with"] = t.recipe.with;
  if (t.recipe.activations) j["activations"] = t.recipe.activations->to_string();
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
