#include "containers/hf_nibble.h"

#include <map>

#include "base/error.h"
#include "containers/hf_quant.h"
#include "containers/listing.h"
#include "formats/format.h"

namespace nibble {
namespace {

constexpr std::string_view prefix = "quantization_config.tensors.";
constexpr std::string_view format_suffix = ".format";
constexpr std::string_view shape_suffix = ".shape";

const Format& format_named(const std::string& word, const std::string& tensor, const std::string& file) {
  try {
    return format_of(word);
  } catch (const Error& e) {
    throw Error(ErrorKind::unsupported, fmt::format("{}: tensor '{}': {}", file, tensor, e.what()), e.hint());
  }
}

StoredTensor assemble_one(const std::string& name, const Format& format, const Shape& shape,
                          const std::map<std::string, size_t, std::less<>>& by_name,
                          const TensorListing& listing, std::vector<bool>& used, const std::string& file) {
  checked_elements(shape, name, file, 0);
  if (const std::string why = format.misfit(shape); !why.empty()) {
    fail(ErrorKind::bad_input, "{}: tensor '{}' of shape {} cannot be {}: {}", file, name, shape.to_string(),
         format.spec().to_string(), why);
  }
  StoredTensor whole;
  whole.name = name;
  whole.type = format.spec().to_string();
  whole.shape = shape;
  whole.view = {format.spec(), shape, {}};
  for (const PlaneInfo& p : format.planes(shape)) {
    const std::string plane_name = plane_tensor_name(name, p.name);
    const auto it = by_name.find(plane_name);
    if (it == by_name.end()) {
      fail(ErrorKind::bad_input, "{}: tensor '{}' in {}: expected a stored tensor '{}', found none", file,
           name, whole.type, plane_name);
    }
    const StoredTensor& stored = listing.tensors[it->second];
    if (stored.dtype != p.dtype || stored.shape != p.shape || stored.raw.bytes.size() != p.bytes) {
      fail(ErrorKind::bad_input,
           "{}: offset {}: tensor '{}': expected {} {} for a {} of shape {}, found {} {}", stored.file,
           stored.offset, plane_name, dtype_name(p.dtype), p.shape.to_string(), whole.type, shape.to_string(),
           stored.type, stored.shape.to_string());
    }
    if (used[it->second]) {
      fail(ErrorKind::bad_input, "{}: tensor '{}' belongs to two quantized tensors", file, plane_name);
    }
    used[it->second] = true;
    whole.view.planes.push_back({p.name, stored.raw.bytes, stored.raw.owner});
    if (whole.file.empty()) {
      whole.file = stored.file;
      whole.offset = stored.offset;
    }
  }
  return whole;
}

}  // namespace

void assemble_nibble(TensorListing& listing, const Meta& config, const std::string& file) {
  if (const auto version = config.integer("quantization_config.version"); version != 1) {
    fail(ErrorKind::unsupported, "{}: expected version 1 of nibble's quantization_config", file);
  }
  std::map<std::string, size_t, std::less<>> by_name;
  for (size_t i = 0; i < listing.tensors.size(); ++i) by_name.emplace(listing.tensors[i].name, i);
  std::vector<bool> used(listing.tensors.size());
  std::map<size_t, StoredTensor> whole_at;  // by the place of the first plane
  for (auto it = config.values().lower_bound(prefix);
       it != config.values().end() && it->first.starts_with(prefix); ++it) {
    if (!it->first.ends_with(format_suffix)) continue;
    if (it->first.size() <= prefix.size() + format_suffix.size()) continue;
    const std::string name =
        it->first.substr(prefix.size(), it->first.size() - prefix.size() - format_suffix.size());
    const auto* word = std::get_if<std::string>(&it->second);
    const MetaValue* dims = config.find(fmt::format("{}{}{}", prefix, name, shape_suffix));
    const auto* shape = dims == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(dims);
    if (word == nullptr || shape == nullptr) {
      fail(ErrorKind::bad_input, "{}: tensor '{}': expected a format word and a shape", file, name);
    }
    const Format& format = format_named(*word, name, file);
    StoredTensor whole = assemble_one(name, format, Shape(*shape), by_name, listing, used, file);
    const auto first = by_name.find(plane_tensor_name(name, whole.view.planes.at(0).name));
    whole_at.emplace(first->second, std::move(whole));
  }
  std::vector<StoredTensor> result;
  for (size_t i = 0; i < listing.tensors.size(); ++i) {
    if (const auto it = whole_at.find(i); it != whole_at.end()) {
      result.push_back(std::move(it->second));
    } else if (!used[i]) {
      result.push_back(std::move(listing.tensors[i]));
    }
  }
  std::map<std::string_view, int> names;
  for (const StoredTensor& t : result) {
    if (++names[t.name] > 1)
      fail(ErrorKind::bad_input, "{}: tensor '{}' is stored plain and quantized", file, t.name);
  }
  listing.tensors = std::move(result);
}

}  // namespace nibble
