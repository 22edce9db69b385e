#include "model/activation_note.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "containers/annotation.h"
#include "model/weight_change.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void no_note(const char* what) {
  fail(ErrorKind::bad_input, "the note on activations ({}) is damaged: {}", activation_note_key, what);
}

std::vector<std::string> names_in(const Json& list) {
  std::vector<std::string> names;
  if (!list.is_array()) no_note("a list of names is none");
  for (const Json& name : list) {
    if (!name.is_string()) no_note("a name is no text");
    names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

std::string activation_note(const ActivationPlan& plan, std::span<const std::string> turned) {
  Json j{{"scheme", plan.scheme.to_string()}};
  if (!plan.keep.empty()) j["keep"] = plan.keep;
  for (const auto& [name, range] : plan.ranges) j["ranges"][name] = {range.low, range.high};
  if (!turned.empty()) j["turned"] = std::vector<std::string>(turned.begin(), turned.end());
  return j.dump();
}

ActivationPlan read_activation_note(const std::string& text) {
  const Json j = Json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("scheme") || !j["scheme"].is_string()) no_note("it names no scheme");
  ActivationPlan plan{ActivationScheme::parse(j["scheme"].get<std::string>()), {}, {}};
  if (j.contains("keep")) plan.keep = names_in(j["keep"]);
  if (j.contains("turned")) names_in(j["turned"]);
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

std::vector<std::string> turned_inputs(const Checkpoint& model) {
  std::vector<std::string> names;
  if (const auto text = annotation(model.file(), activation_note_key)) {
    const Json j = Json::parse(*text, nullptr, false);
    if (!j.is_object())
      fail(ErrorKind::bad_input, "{}: {} is no JSON object", model.path(), activation_note_key);
    if (j.contains("turned")) names = names_in(j["turned"]);
  }
  for (const std::string& name : names) {
    const CanonicalTensor* t = model.find(name + ".weight");
    if (t == nullptr || t->role != Role::ffn_down)
      fail(ErrorKind::bad_input, "{}: the input of {} is said to be turned, but it is no down projection",
           model.path(), name);
  }
  if (model.change() != nullptr) {
    const std::vector<std::string> more = model.change()->turned_inputs();
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
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
