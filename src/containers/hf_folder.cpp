#include "containers/hf_folder.h"

#include <filesystem>
#include <set>

#include "base/error.h"
#include "containers/hf_quant.h"
#include "containers/json_events.h"
#include "containers/json_meta.h"
#include "containers/listing.h"
#include "containers/safetensors.h"
#include "containers/torch_zip.h"

namespace nibble {
namespace {

constexpr size_t largest_index = 256u << 20;

class IndexHandler final : public JsonHandler {
 public:
  explicit IndexHandler(const JsonPlace& place) : place_(place) {}
  ShardIndex index;
  bool seen = false;

  void begin_object() override {
    ++depth_;
    if (depth_ == 2 && key_ == "weight_map") seen = inside_ = true;
  }
  void end_object() override {
    if (depth_ == 2) inside_ = false;
    --depth_;
  }
  void begin_array() override {
    if (depth_ == 0) place_.bad("expected a JSON object with a weight_map");
    if (inside_) place_.bad(fmt::format("weight_map: expected a file name for '{}'", key_));
    ++depth_;
  }
  void end_array() override { --depth_; }
  void key(std::string name) override {
    if (depth_ == 1 || inside_) key_ = std::move(name);
  }
  void scalar(JsonScalar value) override {
    if (depth_ == 0) place_.bad("expected a JSON object with a weight_map");
    if (!inside_) return;
    const auto* file = std::get_if<std::string>(&value);
    if (depth_ != 2 || file == nullptr) {
      place_.bad(fmt::format("weight_map: expected a file name for '{}'", key_));
    }
    if (file->empty() || *file == "." || *file == ".." ||
        file->find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      place_.bad(fmt::format("weight_map: '{}' is no name of a file in this folder", *file));
    }
    const auto [it, fresh] = place_of_.emplace(*file, index.shards.size());
    if (fresh) index.shards.push_back({*file, {}});
    index.shards[it->second].tensors.push_back(key_);
  }

 private:
  const JsonPlace& place_;
  std::string key_;
  std::map<std::string, size_t> place_of_;
  int depth_ = 0;
  bool inside_ = false;
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

void check_shard(const TensorListing& part, const ShardIndex::Shard& shard, const std::string& index_path) {
  std::set<std::string_view> held;
  for (const StoredTensor& t : part.tensors) held.insert(t.name);
  for (const std::string& name : shard.tensors) {
    if (held.count(name) == 0) {
      fail(ErrorKind::bad_input, "{}: weight_map: expected tensor '{}' in {}, which does not hold it",
           index_path, name, shard.file);
    }
  }
}

// A folder's config.json says how its tensors are quantized.
void assemble_by_config(TensorListing& listing, const std::filesystem::path& folder) {
  const std::string config = (folder / "config.json").string();
  if (std::filesystem::exists(config)) assemble_quantized(listing, read_json_meta(config), config);
}

struct Flavour {
  std::string_view kind, file;
  TensorListing (*parse)(std::span<const std::byte>, const std::string&, const std::shared_ptr<const void>&);
  std::string index() const { return fmt::format("{}.index.json", file); }
};

// In the order of preference.
constexpr Flavour flavours[] = {{"safetensors", "model.safetensors", &parse_safetensors},
                                {"torch", "pytorch_model.bin", &parse_torch}};

TensorListing parse_file(const MappedFile& file, const Flavour& flavour) {
  return flavour.parse(file.data(), file.path(), std::make_shared<MappedFile>(file));
}

TensorListing parse_shards(const std::filesystem::path& folder, const Flavour& flavour,
                           std::vector<MappedFile>& files) {
  const std::string index_path = (folder / flavour.index()).string();
  const MappedFile index_file(index_path);
  if (index_file.size() > largest_index) {
    fail(ErrorKind::bad_input, "{}: expected at most {} bytes, found {}", index_path, largest_index,
         index_file.size());
  }
  const ShardIndex index = parse_shard_index(text_of(index_file), index_path);
  TensorListing all;
  for (const ShardIndex::Shard& shard : index.shards) {
    files.emplace_back((folder / shard.file).string());
    TensorListing part = parse_file(files.back(), flavour);
    check_shard(part, shard, index_path);
    if (files.size() == 1) all.metadata = part.metadata;
    append_listing(all, std::move(part));
  }
  return all;
}

}  // namespace

ShardIndex parse_shard_index(std::string_view text, const std::string& file) {
  JsonPlace place{file, 0};
  IndexHandler handler(place);
  parse_json(text, place, handler);
  if (!handler.seen) place.bad("expected a weight_map");
  return std::move(handler.index);
}

bool assemble_by_metadata(TensorListing& listing, const std::string& file) {
  const std::string key(quantization_metadata_key);
  const auto text = listing.metadata.text(key);
  if (!text) return false;
  const std::string where = fmt::format("{} (metadata '{}')", file, key);
  assemble_quantized(listing, parse_json_meta(fmt::format("{{\"{}\":{}}}", key, *text), where), where);
  return true;
}

void assemble_as_described(TensorListing& listing, const std::string& path) {
  if (!assemble_by_metadata(listing, path)) {
    assemble_by_config(listing, std::filesystem::path(path).parent_path());
  }
}

TensorFile open_hf_folder(const std::string& path) {
  const std::filesystem::path folder(path);
  std::string looked_for;
  for (const Flavour& flavour : flavours) {
    std::vector<MappedFile> files;
    TensorListing listing;
    if (std::filesystem::exists(folder / flavour.file)) {
      files.emplace_back((folder / flavour.file).string());
      listing = parse_file(files.back(), flavour);
    } else if (std::filesystem::exists(folder / flavour.index())) {
      listing = parse_shards(folder, flavour, files);
    } else {
      looked_for += fmt::format("{}{} and {}", looked_for.empty() ? "" : ", ", flavour.file, flavour.index());
      continue;
    }
    assemble_by_config(listing, folder);
    return TensorFile(std::string(flavour.kind), path, std::move(files), std::move(listing));
  }
  throw Error(ErrorKind::io, fmt::format("{}: no model in this folder: looked for {}", path, looked_for),
              "download the whole repository, weights included; a GGUF file is named itself, not its folder");
}

}  // namespace nibble
