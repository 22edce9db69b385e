#include "model/activation_note.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "containers/annotation.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void no_note(const char* what) {
  fail(ErrorKind::bad_input, "the note on activations ({}) is damaged: {}", activation_note_key, what);
}

}  // namespace

std::string activation_note(const ActivationPlan& plan) {
  Json j{{"scheme", plan.scheme.to_string()}};
  if (!plan.keep.empty()) j["keep"] = plan.keep;
  for (const auto& [name, range] : plan.ranges) j["ranges"][name] = {range.low, range.high};
  return j.dump();
}

ActivationPlan read_activation_note(const std::string& text) {
  const Json j = Json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("scheme") || !j["scheme"].is_string()) no_note("it names no scheme");
  ActivationPlan plan{ActivationScheme::parse(j["scheme"].get<std::string>()), {}, {}};
  if (j.contains("keep")) {
    if (!j["keep"].is_array()) no_note("keep is no list");
    for (const Json& pattern : j["keep"]) {
      if (!pattern.is_string()) no_note("a pattern is no text");
      plan.keep.push_back(pattern.get<std::string>());
    }
  }
  if (j.contains("ranges")) {
    if (!j["ranges"].is_object()) no_note("ranges are no object");
    for (const auto& [name, range] : j["ranges"].items()) {
      if (!range.is_array() || range.size() != 2 || !range[0].is_number() || !range[1].is_number())
        no_note("a range is no pair of numbers");
      const InputRange r{range[0].get<float>(), range[1].get<float>()};
      if (!std::isfinite(r.low) || !std::isfinite(r.high) || r.low > r.high) no_note("a range is empty");
      plan.ranges.emplace(name, r);
    }
  }
  return plan;
}

std::optional<ActivationPlan> activation_plan(const Checkpoint& model) {
  const auto text = annotation(model.file(), activation_note_key);
  if (!text) return std::nullopt;
  try {
    return read_activation_note(*text);
  } catch (const Error& e) {
    throw Error(ErrorKind::bad_input, fmt::format("{}: {}", model.path(), e.what()), e.hint());
  }
}

}  // namespace nibble
