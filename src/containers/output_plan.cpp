#include "containers/output_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "containers/gguf.h"
#include "containers/hf_quant.h"
#include "containers/safetensors.h"

namespace nibble {
namespace {

uint64_t aligned(uint64_t n, uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

void append(std::vector<std::byte>& out, std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  out.insert(out.end(), bytes, bytes + text.size());
}

template <class T>
void append_number(std::vector<std::byte>& out, T v) {
  append(out, {reinterpret_cast<const char*>(&v), sizeof v});
}

void append_counted(std::vector<std::byte>& out, std::string_view text) {
  append_number(out, static_cast<uint64_t>(text.size()));
  append(out, text);
}

// --- GGUF

uint32_t gguf_type_of(const PlannedTensor& t, const std::string& path) {
  if (t.format == nullptr) {
    if (const auto id = gguf_plain_id(t.dtype)) return *id;
    fail(ErrorKind::unsupported, "{}: tensor '{}': GGUF cannot hold plain {}", path, t.name,
         dtype_name(t.dtype));
  }
  const int id = t.format->info().gguf_id;
  if (id < 0) {
    throw Error(
        ErrorKind::unsupported,
        fmt::format("{}: tensor '{}': GGUF cannot hold {}", path, t.name, t.format->spec().to_string()),
        "write a folder instead: it becomes safetensors");
  }
  if (const std::string why = t.format->misfit(t.shape); !why.empty()) {
    fail(ErrorKind::unsupported, "{}: tensor '{}' of shape {} cannot be {}: {}", path, t.name,
         t.shape.to_string(), t.format->spec().to_string(), why);
  }
  return static_cast<uint32_t>(id);
}

uint64_t gguf_alignment(std::span<const GgufKv> kv, const std::string& path) {
  for (const GgufKv& entry : kv) {
    if (entry.key != "general.alignment") continue;
    const MetaValue value = entry.meta();
    const auto* n = std::get_if<int64_t>(&value);
    if (entry.type != GgufType::u32 || n == nullptr || *n <= 0 || (*n & (*n - 1)) != 0) {
      fail(ErrorKind::bad_input, "{}: general.alignment must be a u32 and a power of two", path);
    }
    return static_cast<uint64_t>(*n);
  }
  return gguf_default_alignment;
}

// --- safetensors

struct Entry {
  std::string name;
  PlaneInfo info;
  size_t tensor = 0, plane = 0;
};

std::vector<std::vector<Entry>> cut_into_shards(std::span<const PlannedTensor> tensors, uint64_t shard_size,
                                                const std::string& path) {
  std::vector<std::vector<Entry>> shards(1);
  std::set<std::string> names;
  uint64_t filled = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto planes = planned_planes(tensors[i]);
    uint64_t bytes = 0;
    for (const PlaneInfo& p : planes) bytes += p.bytes;
    if (shard_size > 0 && filled > 0 && filled + bytes > shard_size) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    for (size_t k = 0; k < planes.size(); ++k) {
      std::string name = plane_tensor_name(tensors[i].name, planes[k].name);
      if (!names.insert(name).second) {
        fail(ErrorKind::bad_input, "{}: two tensors would bear the name '{}'", path, name);
      }
      shards.back().push_back({std::move(name), planes[k], i, k});
    }
  }
  for (auto& shard : shards) {
    std::stable_sort(shard.begin(), shard.end(), [](const Entry& a, const Entry& b) {
      return dtype_size(a.info.dtype) > dtype_size(b.info.dtype);
    });
  }
  return shards;
}

OutputPlan::File plan_shard(const std::vector<Entry>& shard, size_t index, const std::string& path,
                            const std::map<std::string, std::string>& metadata, OutputPlan& plan) {
  std::string text = "{";
  uint64_t at = 0;
  try {
    if (!metadata.empty()) text += fmt::format("\"__metadata__\":{}", nlohmann::json(metadata).dump());
    for (const Entry& e : shard) {
      text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          text.size() > 1 ? "," : "", nlohmann::json(e.name).dump(),
                          safetensors_dtype_name(e.info.dtype), fmt::join(e.info.shape.dims(), ","), at,
                          at + e.info.bytes);
      plan.places[e.tensor][e.plane] = {index, at, e.info.bytes};
      at += e.info.bytes;
    }
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::unsupported, "{}: a tensor's name or the metadata is not UTF-8, as safetensors needs",
         path);
  }
  text += "}";
  text.resize(aligned(text.size(), 8), ' ');
  OutputPlan::File file{path, {}, 0};
  append_number(file.header, static_cast<uint64_t>(text.size()));
  append(file.header, text);
  file.size = file.header.size() + at;
  for (const Entry& e : shard) plan.places[e.tensor][e.plane].offset += file.header.size();
  return file;
}

}  // namespace

uint64_t OutputPlan::total_bytes() const noexcept {
  uint64_t n = 0;
  for (const File& f : files) n += f.size;
  for (const SmallFile& f : small_files) n += f.text.size();
  return n;
}

std::vector<PlaneInfo> planned_planes(const PlannedTensor& tensor) {
  if (tensor.format != nullptr) return tensor.format->planes(tensor.shape);
  const auto bytes = static_cast<size_t>(tensor.shape.elements()) * dtype_size(tensor.dtype);
  return {{"", tensor.dtype, tensor.shape, bytes, 0}};
}

OutputPlan plan_gguf(const std::string& path, std::span<const PlannedTensor> tensors,
                     std::span<const GgufKv> kv) {
  const uint64_t alignment = gguf_alignment(kv, path);
  std::vector<std::byte> header;
  append(header, "GGUF");
  append_number(header, uint32_t{3});
  append_number(header, static_cast<uint64_t>(tensors.size()));
  append_number(header, static_cast<uint64_t>(kv.size()));
  std::set<std::string_view> seen;
  for (const GgufKv& entry : kv) {
    if (!seen.insert(entry.key).second) {
      fail(ErrorKind::bad_input, "{}: key '{}' is given twice", path, entry.key);
    }
    entry.encode(header);
  }
  OutputPlan plan;
  uint64_t at = 0;
  seen.clear();
  for (const PlannedTensor& t : tensors) {
    if (t.name.empty() || t.name.size() > gguf_longest_name || t.shape.rank() > 4) {
      fail(ErrorKind::unsupported,
           "{}: tensor '{}' of shape {}: GGUF takes names up to {} bytes and 4 dimensions", path, t.name,
           t.shape.to_string(), gguf_longest_name);
    }
    if (!seen.insert(t.name).second) {
      fail(ErrorKind::bad_input, "{}: tensor '{}' is given twice", path, t.name);
    }
    const uint32_t type = gguf_type_of(t, path);
    const auto planes = planned_planes(t);
    if (planes.size() != 1) {
      fail(ErrorKind::internal, "{}: tensor '{}': a GGUF format of {} planes", path, t.name, planes.size());
    }
    append_counted(header, t.name);
    append_number(header, static_cast<uint32_t>(t.shape.rank()));
    for (size_t d = t.shape.rank(); d-- > 0;) append_number(header, static_cast<uint64_t>(t.shape[d]));
    append_number(header, type);
    append_number(header, at);
    plan.places.push_back({{0, at, planes[0].bytes}});
    at += aligned(planes[0].bytes, alignment);
  }
  header.resize(aligned(header.size(), alignment));
  for (auto& place : plan.places) place[0].offset += header.size();
  const uint64_t size = header.size() + at;
  plan.files.push_back({path, std::move(header), size});
  return plan;
}

OutputPlan plan_safetensors(const std::string& path, std::span<const PlannedTensor> tensors,
                            const std::map<std::string, std::string>& metadata, uint64_t shard_size) {
  OutputPlan plan;
  for (const PlannedTensor& t : tensors) {
    if (t.format != nullptr) {
      if (const std::string why = t.format->misfit(t.shape); !why.empty()) {
        fail(ErrorKind::unsupported, "{}: tensor '{}' of shape {} cannot be {}: {}", path, t.name,
             t.shape.to_string(), t.format->spec().to_string(), why);
      }
    }
    plan.places.emplace_back(planned_planes(t).size());
  }
  if (path.ends_with(".safetensors")) {
    auto described = metadata;
    if (std::string config = quantization_config(tensors); !config.empty()) {
      described[std::string(quantization_metadata_key)] = std::move(config);
    }
    const auto shards = cut_into_shards(tensors, 0, path);
    plan.files.push_back(plan_shard(shards[0], 0, path, described, plan));
    return plan;
  }
  const std::filesystem::path folder(path);
  const auto shards = cut_into_shards(tensors, shard_size, path);
  if (shards.size() == 1) {
    plan.files.push_back(plan_shard(shards[0], 0, (folder / "model.safetensors").string(), metadata, plan));
    return plan;
  }
  nlohmann::ordered_json index;
  uint64_t total = 0;
  std::map<std::string, std::string> weight_map;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    plan.files.push_back(plan_shard(shards[i], i, (folder / name).string(), metadata, plan));
    for (const Entry& e : shards[i]) {
      total += e.info.bytes;
      weight_map[e.name] = name;
    }
  }
  index["metadata"]["total_size"] = total;
  index["weight_map"] = weight_map;
  plan.small_files.push_back({(folder / "model.safetensors.index.json").string(), index.dump(2) + "\n"});
  return plan;
}

}  // namespace nibble
