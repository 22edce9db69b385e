#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/export_parts.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uintmax_t largest_copy = uintmax_t{256} << 20;

std::string read_text(const fs::path& path) {
  const MappedFile file(path.string());
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

// Tokenizer, generation settings, chat template, licence: everything small that is no weight and no index.
bool belongs_to_model(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name == "config.json" || name.ends_with(".index.json") || name.starts_with(".")) return false;
  if (name.starts_with("LICENSE") || name.starts_with("NOTICE")) return true;
  const std::string ext = path.extension().string();
  return ext == ".json" || ext == ".jinja" || ext == ".model" || name == "merges.txt" || name == "vocab.txt";
}

std::vector<ExportFile> copied_files(const Checkpoint& source, const std::string& float_name) {
  Json config = Json::parse(read_text(fs::path(source.folder()) / "config.json"));
  config.erase("quantization_config");
  // A change may have given a tied model an output matrix.
  if (source.change() != nullptr) {
    config["tie_word_embeddings"] = source.hparams().tied;
    if (config.contains("text_config")) config["text_config"]["tie_word_embeddings"] = source.hparams().tied;
  }
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (config.contains(key)) config[key] = float_name;
  }
  std::vector<ExportFile> files{{"config.json", config.dump(2) + "\n", {}}};
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(source.folder())) {
    if (entry.is_regular_file() && belongs_to_model(entry.path()) && entry.file_size() <= largest_copy) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& p : found) files.push_back({p.filename().string(), {}, p.string()});
  return files;
}

// A GGUF file holds f32; the number a person wrote is the shortest that rounds to it.
Json number(double v) {
  if (v == std::floor(v) && std::fabs(v) < 1e15) return static_cast<int64_t>(v);
  return std::stod(fmt::format("{}", static_cast<float>(v)));
}
Json real(double v) {
  const Json n = number(v);
  return n.is_number_integer() ? Json(static_cast<double>(n.get<int64_t>())) : n;
}

Json rope_scaling(const Hparams& h) {
  Json j;
  switch (h.rope_scaling) {
    case RopeScaling::none:
      return j;
    case RopeScaling::linear:
      j = {{"rope_type", "linear"}, {"factor", real(h.rope_factor)}};
      break;
    case RopeScaling::yarn:
      j = {{"rope_type", "yarn"},
           {"factor", real(h.rope_factor)},
           {"original_max_position_embeddings", h.rope_original_context},
           {"beta_fast", real(h.rope_beta_fast)},
           {"beta_slow", real(h.rope_beta_slow)}};
      break;
    case RopeScaling::llama3:
      j = {{"rope_type", "llama3"},
           {"factor", real(h.rope_factor)},
           {"low_freq_factor", real(h.rope_low_freq)},
           {"high_freq_factor", real(h.rope_high_freq)},
           {"original_max_position_embeddings", h.rope_original_context}};
      return j;
    case RopeScaling::longrope:
      j = {{"rope_type", "longrope"},
           {"type", "longrope"},
           {"original_max_position_embeddings", h.rope_original_context}};
      for (const double f : h.rope_long) j["long_factor"].push_back(real(f));
      for (const double f : h.rope_short) j["short_factor"].push_back(real(f));
      break;
  }
  if (h.rope_attn_factor > 0) j["attention_factor"] = real(h.rope_attn_factor);
  return j;
}

Json made_config(const Checkpoint& source, const std::string& float_name) {
  const Arch& arch = source.arch();
  const Hparams& h = source.hparams();
  const size_t variant = arch.hf_variant == nullptr ? 0 : arch.hf_variant(h);
  Json j;
  j["architectures"] = {std::string(arch.hf_classes.at(variant))};
  j["model_type"] = std::string(arch.hf_types.at(std::min(variant, arch.hf_types.size() - 1)));
  for (const FieldRow& row : arch.fields) {
    std::string_view key;
    for (const std::string_view name : row.hf) {
      if (key.empty() && name.find('.') == std::string_view::npos) key = name;
    }
    const double v = row.get(h);
    if (key.empty() || (v == 0 && row.fallback == 0)) continue;
    if (row.kind == FieldKind::flag) j[key] = v != 0;
    if (row.kind == FieldKind::count) j[key] = static_cast<int64_t>(v);
    if (row.kind == FieldKind::real) j[key] = real(v);
  }
  if (arch.hf_numbers != nullptr) {
    for (const HfNumber& n : arch.hf_numbers(h)) j[n.key] = number(n.value);
  }
  for (const HfConstant& c : arch.hf_constants) j[c.key] = Json::parse(c.json);
  if (arch.rope != RopeStyle::none) j["rope_scaling"] = rope_scaling(h);
  if (!arch.encoder) j["tie_word_embeddings"] = h.tied;
  // Which parts have a bias is a switch in some classes.
  if (arch.name == "llama") {
    j["attention_bias"] = source.find("blk.0.attn_q.bias") != nullptr;
    j["mlp_bias"] = source.find("blk.0.ffn_up.bias") != nullptr;
  }
  if (arch.encoder && h.token_types == 0) j["type_vocab_size"] = 1;
  for (const char* name : {"bos", "eos", "padding"}) {
    const auto id = source.meta().integer(fmt::format("tokenizer.ggml.{}_token_id", name));
    if (id) j[fmt::format("{}_token_id", name == std::string_view("padding") ? "pad" : name)] = *id;
  }
  j["torch_dtype"] = float_name;
  return j;
}

}  // namespace

std::vector<ExportFile> hf_files(const Checkpoint& source, const std::string& float_name) {
  if (source.source() == SourceKind::huggingface) return copied_files(source, float_name);
  std::vector<ExportFile> files{{"config.json", made_config(source, float_name).dump(2) + "\n", {}}};
  if (!source.has_tokenizer()) return files;
  for (ExportFile& f : tokenizer_files(source.tokenizer().data())) files.push_back(std::move(f));
  return files;
}

}  // namespace nibble
