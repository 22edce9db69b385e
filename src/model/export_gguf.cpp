#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "model/export_parts.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

// "21M", "7.2B": how hubs label sizes.
std::string size_label(const Checkpoint& source) {
  double count = 0;
  for (const CanonicalTensor& t : source.tensors()) count += static_cast<double>(t.shape.elements());
  for (const auto& [unit, letter] : {std::pair{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}}) {
    if (count < unit) continue;
    return fmt::format("{:.{}f}{}", count / unit, count / unit < 10 ? 1 : 0, letter);
  }
  return fmt::format("{:.0f}K", count / 1e3);
}

std::string model_name(const Checkpoint& source) {
  std::string name = fs::weakly_canonical(source.folder()).filename().string();
  return name.empty() ? std::string(source.arch().name) : name;
}

class Keys {
 public:
  Keys(const Arch& arch, std::vector<GgufKv>& kv) : prefix_(std::string(arch.gguf) + "."), kv_(kv) {}
  void count(std::string_view key, int64_t v) {
    kv_.push_back(GgufKv::u32(prefix_ + std::string(key), static_cast<uint32_t>(v)));
  }
  void real(std::string_view key, double v) {
    kv_.push_back(GgufKv::f32(prefix_ + std::string(key), static_cast<float>(v)));
  }
  void flag(std::string_view key, bool v) { kv_.push_back(GgufKv::boolean(prefix_ + std::string(key), v)); }
  void text(std::string_view key, std::string_view v) {
    kv_.push_back(GgufKv::text(prefix_ + std::string(key), v));
  }

 private:
  std::string prefix_;
  std::vector<GgufKv>& kv_;
};

void add_fields(const Arch& arch, const Hparams& h, Keys& keys) {
  for (const FieldRow& row : arch.fields) {
    if (row.gguf.empty()) continue;
    const double v = row.get(h);
    if (row.kind == FieldKind::flag) {
      keys.flag(row.gguf, v != 0);
    } else if (v == 0 && row.fallback == 0) {
      continue;  // does not apply
    } else if (row.kind == FieldKind::real) {
      keys.real(row.gguf, v);
    } else {
      keys.count(row.gguf, static_cast<int64_t>(v));
    }
  }
}

void add_rope_scaling(const Arch& arch, const Hparams& h, Keys& keys) {
  if (arch.name == "phi3")
    keys.count("rope.scaling.original_context_length",
               h.rope_original_context > 0 ? h.rope_original_context : h.context);
  switch (h.rope_scaling) {
    case RopeScaling::none:
    case RopeScaling::llama3:
      return;  // rope_freqs.weight holds it
    case RopeScaling::linear:
      keys.text("rope.scaling.type", "linear");
      keys.real("rope.scaling.factor", h.rope_factor);
      return;
    case RopeScaling::yarn:
      keys.text("rope.scaling.type", "yarn");
      keys.real("rope.scaling.factor", h.rope_factor);
      keys.count("rope.scaling.original_context_length", h.rope_original_context);
      if (h.rope_beta_fast != 32) keys.real("rope.scaling.yarn_beta_fast", h.rope_beta_fast);
      if (h.rope_beta_slow != 1) keys.real("rope.scaling.yarn_beta_slow", h.rope_beta_slow);
      // Readers multiply this with yarn's own magnitude.
      if (h.rope_attn_factor > 0) {
        keys.real("rope.scaling.attn_factor", h.rope_attn_factor / (1 + 0.1 * std::log(h.rope_factor)));
      }
      return;
    case RopeScaling::longrope: {
      const auto original = static_cast<double>(h.rope_original_context);
      const double stretch = static_cast<double>(h.context) / original;
      const double usual = stretch > 1 ? std::sqrt(1 + std::log(stretch) / std::log(original)) : 1;
      keys.text("rope.scaling.type", "longrope");
      keys.real("rope.scaling.attn_factor", h.rope_attn_factor > 0 ? h.rope_attn_factor : usual);
      return;
    }
  }
}

}  // namespace

std::vector<GgufKv> gguf_metadata(const Checkpoint& source, int file_type, bool quantized) {
  const Arch& arch = source.arch();
  const Hparams& h = source.hparams();
  std::vector<GgufKv> kv;
  kv.push_back(GgufKv::text("general.architecture", arch.gguf));
  kv.push_back(GgufKv::text("general.type", "model"));
  kv.push_back(GgufKv::text("general.name", model_name(source)));
  kv.push_back(GgufKv::text("general.size_label", size_label(source)));
  kv.push_back(GgufKv::u32("general.file_type", static_cast<uint32_t>(file_type)));
  if (quantized) kv.push_back(GgufKv::u32("general.quantization_version", 2));
  Keys keys(arch, kv);
  add_fields(arch, h, keys);
  if (arch.rope != RopeStyle::none) add_rope_scaling(arch, h, keys);
  if (arch.encoder) {
    keys.flag("attention.causal", false);
    // Readers want at least one; without segments the table is absent.
    kv.push_back(GgufKv::u32("tokenizer.ggml.token_type_count",
                             static_cast<uint32_t>(h.token_types > 0 ? h.token_types : 1)));
  }
  if (!source.has_tokenizer()) {
    kv.push_back(GgufKv::text("tokenizer.ggml.model", "none"));
    return kv;
  }
  // Of a sentencepiece model its own file is the original; a tokenizer.json beside it was made from it.
  const fs::path pieces = fs::path(source.folder()) / "tokenizer.model";
  const Tokenizer tokenizer = fs::exists(pieces) ? Tokenizer::open(pieces.string()) : source.tokenizer();
  for (GgufKv& entry : gguf_vocabulary(tokenizer.data(), arch, h.vocab, source.meta())) {
    kv.push_back(std::move(entry));
  }
  return kv;
}

std::vector<GgufKv> kept_metadata(const Checkpoint& source, int file_type, bool quantized) {
  std::vector<GgufKv> kv;
  for (const GgufKv& entry : source.file().gguf()) {
    const bool stale = entry.key.starts_with("split.") || entry.key.starts_with("quantize.imatrix.") ||
                       entry.key == "nibble.certificates" || entry.key == "general.file_type" ||
                       entry.key == "general.quantization_version";
    if (!stale) kv.push_back(entry);
  }
  kv.push_back(GgufKv::u32("general.file_type", static_cast<uint32_t>(file_type)));
  if (quantized) kv.push_back(GgufKv::u32("general.quantization_version", 2));
  return kv;
}

}  // namespace nibble
