#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "model/checkpoint_data.h"

// Which tensor of the file is which of the architecture's table.

namespace nibble {
namespace {

constexpr size_t listed_at_most = 20;

bool is_output_part(const TensorRow& row) { return row.name.starts_with("output"); }

class Claims {
 public:
  explicit Claims(Checkpoint::Data& data) : d_(data) {
    for (const StoredTensor& t : d_.file->tensors()) {
      std::string name = d_.source == SourceKind::gguf ? t.name : plain_hf_name(*d_.arch, t.name);
      const auto [at, fresh] = by_name_.emplace(std::move(name), &t);
      if (!fresh) {
        fail(ErrorKind::bad_input, "{}: tensors '{}' and '{}' are the same one", d_.path, at->second->name,
             t.name);
      }
    }
  }

  // Embeddings, layers, output: the order of the forward pass.
  void claim_all() {
    const std::vector<TensorRow>& rows = d_.arch->tensors;
    for (const TensorRow& row : rows) {
      if (row.name.find("{l}") == std::string_view::npos && !is_output_part(row)) claim(row, -1);
    }
    for (int64_t layer = 0; layer < d_.hparams.layers; ++layer) {
      for (const TensorRow& row : rows) {
        if (row.name.find("{l}") != std::string_view::npos) claim(row, layer);
      }
      if (missing_.size() > listed_at_most) break;
    }
    for (const TensorRow& row : rows) {
      if (is_output_part(row)) claim(row, -1);
    }
    if (!missing_.empty()) report_missing();
  }

  void list_unclaimed() {
    for (const StoredTensor& t : d_.file->tensors()) {
      if (claimed_.count(&t) != 0) continue;
      UnclaimedTensor u{t.name, {}, t.bytes(), true};
      explain(t.name, u);
      d_.unclaimed.push_back(std::move(u));
    }
  }

 private:
  const StoredTensor* lookup(const TensorRow& row, int64_t layer, int64_t expert) const {
    if (d_.source == SourceKind::gguf) return found(tensor_name(row.name, layer, -1));
    if (row.hf.empty()) return nullptr;
    return found(plain_hf_name(*d_.arch, tensor_name(row.hf, layer, expert)));
  }
  const StoredTensor* found(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }

  void claim(const TensorRow& row, int64_t layer) {
    if (!tensor_applies(*d_.arch, row, d_.hparams)) return;
    if (row.role == Role::output && !wants_output(row)) return;
    CanonicalTensor t;
    t.name = tensor_name(row.name, layer, -1);
    t.hf = row.hf.empty() ? std::string() : tensor_name(row.hf, layer, -1);
    t.role = row.role;
    t.rewrite = row.rewrite;
    t.layer = layer;
    t.shape = tensor_shape(*d_.arch, row, d_.hparams);
    const bool stack = row.rewrite == Rewrite::stack_experts;
    if (stack) t.experts = d_.hparams.experts;
    const int64_t parts = stack && d_.source == SourceKind::huggingface ? t.experts : 1;
    for (int64_t e = 0; e < parts; ++e) {
      const StoredTensor* stored = lookup(row, layer, e);
      if (stored == nullptr) {
        // GGUF's bert may come without segments: DistilBERT, which adds nothing in their place.
        const bool may_lack =
            row.optional || (row.role == Role::type_embedding && d_.source == SourceKind::gguf);
        if (row.role == Role::type_embedding && may_lack) d_.hparams.token_types = 0;
        if (!may_lack) missing(row, layer, e);
        if (missing_.size() > listed_at_most || may_lack) return;
        continue;
      }
      check_shape(t, *stored);
      t.stored.push_back(stored);
      t.source_bytes += stored->bytes();
      claimed_.insert(stored);
    }
    if (t.stored.size() != static_cast<size_t>(parts)) return;
    t.format = t.stored.front()->weights().format;
    for (const StoredTensor* s : t.stored) {
      if (s->weights().format != t.format) {
        fail(ErrorKind::unsupported, "{}: experts of {} are stored in different formats ({} and {})", d_.path,
             t.name, t.format.to_string(), s->weights().format.to_string());
      }
    }
    claim_scale(t);
    d_.by_name.emplace(t.name, d_.tensors.size());
    d_.tensors.push_back(std::move(t));
  }

  // GGUF keeps what NVFP4 cannot hold in NAME.scale beside NAME.weight.
  void claim_scale(CanonicalTensor& t) {
    if (d_.source != SourceKind::gguf || !t.name.ends_with(".weight")) return;
    const StoredTensor* stored = found(t.name.substr(0, t.name.size() - 6) + "scale");
    if (stored == nullptr) return;
    const int64_t count = stored->shape.elements();
    if (count != 1 && count != t.experts) {
      fail(ErrorKind::bad_input, "{}: tensor '{}' has shape {}, expected one factor or one per expert",
           stored->file, stored->name, stored->shape.to_string());
    }
    t.scale.resize(static_cast<size_t>(count));
    decode_range(stored->weights(), 0, count, t.scale.data());
    for (const float f : t.scale) {
      if (!std::isfinite(f)) fail(ErrorKind::bad_input, "{}: '{}' is not finite", stored->file, stored->name);
    }
    claimed_.insert(stored);
  }

  // Whether the model has an output matrix of its own; sets Hparams::tied.
  bool wants_output(const TensorRow& row) {
    const bool there = lookup(row, -1, -1) != nullptr;
    const bool from_gguf = d_.source == SourceKind::gguf;
    std::optional<bool> flag;
    if (!from_gguf) {
      flag = d_.meta.boolean("tie_word_embeddings");
      if (!flag) flag = d_.meta.boolean("text_config.tie_word_embeddings");
    }
    d_.hparams.tied = flag ? *flag : !there && row.optional;
    return !d_.hparams.tied;
  }

  void check_shape(const CanonicalTensor& t, const StoredTensor& stored) const {
    std::vector<int64_t> want = t.shape.dims();
    if (d_.source == SourceKind::huggingface) {
      if (t.rewrite == Rewrite::stack_experts) want.erase(want.begin());
      const bool float_bytes = stored.has_weights() && is_plain_float(stored.view.format);
      if (t.rewrite == Rewrite::transpose && float_bytes) std::swap(want.at(0), want.at(1));
    }
    if (stored.shape.dims() == want) return;
    fail(ErrorKind::bad_input, "{}: tensor '{}' has shape {}, expected {}", stored.file, stored.name,
         stored.shape.to_string(), Shape(want).to_string());
  }

  void missing(const TensorRow& row, int64_t layer, int64_t expert) {
    if (d_.source == SourceKind::gguf) {
      missing_.push_back(tensor_name(row.name, layer, -1));
    } else {
      missing_.push_back(tensor_name(row.hf, layer, expert));
    }
  }

  [[noreturn]] void report_missing() const {
    std::string list;
    for (size_t i = 0; i < std::min(missing_.size(), listed_at_most); ++i) list += "\n  " + missing_[i];
    if (missing_.size() > listed_at_most) list += "\n  ...";
    throw Error(ErrorKind::bad_input,
                fmt::format("{}: tensors that a {} model needs are missing:{}", d_.path, d_.arch->name, list),
                "check that the download is complete");
  }

  void explain(const std::string& name, UnclaimedTensor& u) const {
    if (name.find("rotary_emb.inv_freq") != std::string::npos) {
      u.reason = "rotary frequencies: computed";
      return;
    }
    const std::string plain = plain_hf_name(*d_.arch, name);
    for (const DroppedRow& row : d_.arch->hf_dropped) {
      if (d_.source == SourceKind::huggingface && ("." + plain).find(row.part) != std::string::npos) {
        u.reason = row.reason;
        return;
      }
    }
    if (plain == "lm_head.weight" && d_.hparams.tied) {
      u.reason = "copy of the token embedding (tied)";
      return;
    }
    if (d_.source == SourceKind::gguf && name.ends_with(".input_scale")) {
      u.reason = "scale of activations: they are not rounded";
      return;
    }
    u.reason = fmt::format("not known to architecture {}", d_.arch->name);
    u.harmless = false;
  }

  Checkpoint::Data& d_;
  std::unordered_map<std::string, const StoredTensor*> by_name_;
  std::set<const StoredTensor*> claimed_;
  std::vector<std::string> missing_;
};

std::vector<double> factors_of(const CanonicalTensor& t) {
  std::vector<float> values(static_cast<size_t>(t.shape.elements()));
  decode_rows(t.stored.front()->weights(), 0, 1, values.data());
  for (const float f : values) {
    if (!(f > 0 && f < 1e9F)) {
      fail(ErrorKind::bad_input, "{}: a factor in '{}' is {}, expected a positive number",
           t.stored.front()->file, t.name, f);
    }
  }
  return {values.begin(), values.end()};
}

bool gives(const Hparams& h, const std::vector<double>& factors) {
  const std::vector<float> rule = llama3_rope_factors(h);
  for (size_t i = 0; i < factors.size(); ++i) {
    if (std::abs(static_cast<double>(rule[i]) - factors[i]) > 1e-5 * factors[i]) return false;
  }
  return true;
}

// rope_freqs.weight is all that GGUF keeps of Llama 3's scaling. Published models share the frequency
// factors 1 and 4; where no original context gives these values, they are used as they are.
void read_llama3_factors(Hparams& h, const std::vector<double>& factors) {
  h.rope_factor = *std::max_element(factors.begin(), factors.end());
  h.rope_scaling = h.rope_factor == 1 ? RopeScaling::none : RopeScaling::llama3;
  if (h.rope_factor == 1) return;
  h.rope_low_freq = 1;
  h.rope_high_freq = 4;
  h.rope_original_context = 8192;
  if (gives(h, factors)) return;
  for (h.rope_original_context = 32; h.rope_original_context <= h.context; h.rope_original_context *= 2) {
    if (gives(h, factors)) return;
  }
  h.rope_scaling = RopeScaling::longrope;
  h.rope_long = h.rope_short = factors;
  h.rope_original_context = h.context;
  h.rope_attn_factor = 1;
}

void read_rope_factors(Checkpoint::Data& d) {
  for (const CanonicalTensor& t : d.tensors) {
    if (t.role != Role::rope_factors) continue;
    const std::vector<double> factors = factors_of(t);
    if (t.name == "rope_freqs.weight") read_llama3_factors(d.hparams, factors);
    if (t.name == "rope_factors_long.weight") d.hparams.rope_long = factors;
    if (t.name == "rope_factors_short.weight") d.hparams.rope_short = factors;
  }
  if (d.source == SourceKind::gguf && !d.hparams.rope_long.empty() &&
      d.hparams.rope_scaling == RopeScaling::none) {
    d.hparams.rope_scaling = RopeScaling::longrope;
    d.hparams.rope_attn_factor = 1;
  }
  if (d.hparams.rope_long.empty() != d.hparams.rope_short.empty()) {
    fail(ErrorKind::bad_input, "{}: only one of the long and the short rope factors is there", d.path);
  }
}

}  // namespace

std::string tensor_name(std::string_view pattern, int64_t layer, int64_t expert) {
  std::string name(pattern);
  const auto fill = [&](std::string_view mark, int64_t value) {
    const size_t at = name.find(mark);
    if (value >= 0 && at != std::string::npos) name.replace(at, mark.size(), std::to_string(value));
  };
  fill("{l}", layer);
  fill("{e}", expert);
  return name;
}

std::string plain_hf_name(const Arch& arch, std::string_view name) {
  for (const std::string_view prefix : arch.hf_prefixes) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      break;
    }
  }
  std::string plain(name);
  const auto respell = [&](std::string_view old, std::string_view today) {
    if (plain.ends_with(old)) plain.replace(plain.size() - old.size(), old.size(), today);
  };
  respell(".gamma", ".weight");
  respell(".beta", ".bias");
  return plain;
}

void claim_tensors(Checkpoint::Data& data) {
  Claims claims(data);
  claims.claim_all();
  claims.list_unclaimed();
  read_rope_factors(data);
}

}  // namespace nibble
