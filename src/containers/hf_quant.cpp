#include "containers/hf_quant.h"

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "containers/hf_nibble.h"
#include "containers/json_meta.h"

namespace nibble {
namespace {

// Every convention nibble reads, one line each.
constexpr std::array conventions = {
    HfConvention{"nibble", &assemble_nibble},
};

nlohmann::ordered_json config_object(std::span<const PlannedTensor> tensors) {
  nlohmann::ordered_json entries = nlohmann::ordered_json::object();
  for (const PlannedTensor& t : tensors) {
    if (is_stored_plain(t)) continue;
    // push_back, because looking each name up would make long lists quadratic; names are unique in a plan.
    entries.get_ref<nlohmann::ordered_json::object_t&>().push_back(
        {t.name, {{"format", t.format->spec().to_string()}, {"shape", t.shape.dims()}}});
  }
  if (entries.empty()) return nullptr;
  return {{"quant_method", "nibble"}, {"version", 1}, {"tensors", std::move(entries)}};
}

}  // namespace

std::string plane_tensor_name(std::string_view tensor, std::string_view plane) {
  return plane.empty() ? std::string(tensor) : fmt::format("{}.{}", tensor, plane);
}

bool is_stored_plain(const PlannedTensor& tensor) {
  if (tensor.format == nullptr) return true;
  const auto planes = tensor.format->planes(tensor.shape);
  return planes.size() == 1 && planes[0].name.empty() && is_float(planes[0].dtype) &&
         planes[0].shape == tensor.shape;
}

std::string quantization_config(std::span<const PlannedTensor> tensors) {
  const auto object = config_object(tensors);
  return object.is_null() ? std::string() : object.dump();
}

std::string with_quantization_config(std::string_view config, std::span<const PlannedTensor> tensors,
                                     const std::string& file) {
  parse_json_meta(config, file);  // refuses whatever the tree below should not meet
  auto json = nlohmann::ordered_json::parse(config);
  json.erase("quantization_config");
  if (auto object = config_object(tensors); !object.is_null())
    json["quantization_config"] = std::move(object);
  return json.dump(2) + "\n";
}

std::span<const HfConvention> hf_conventions() { return conventions; }

void assemble_quantized(TensorListing& listing, const Meta& config, const std::string& file) {
  const auto method = config.text("quantization_config.quant_method");
  if (!method) {
    for (const auto& [key, value] : config.values()) {
      if (key.starts_with("quantization_config.")) {
        fail(ErrorKind::unsupported, "{}: quantization_config without a quant_method", file);
      }
    }
    return;
  }
  for (const HfConvention& c : conventions) {
    if (c.quant_method == *method) return c.assemble(listing, config, file);
  }
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: nibble does not read quant_method '{}'", file, *method),
              "start from the model before it was quantized");
}

}  // namespace nibble
