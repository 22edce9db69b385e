#include "arch/hparams.h"

#include <algorithm>
#include <cmath>

#include "arch/arch.h"
#include "base/error.h"

namespace nibble {
namespace {

// Looks values up in one of the two kinds of metadata and knows how to name a key to the user.
class Source {
 public:
  Source(const Arch& arch, const Meta& meta, bool from_gguf) : arch_(arch), meta_(meta), gguf_(from_gguf) {}

  std::string spelled(const FieldRow& row) const {
    if (gguf_) return fmt::format("GGUF key {}.{}", arch_.gguf, row.gguf);
    return fmt::format("config.json: {}", row.hf.empty() ? row.name : row.hf.front());
  }
  std::string spelled(std::string_view key) const {
    return gguf_ ? fmt::format("GGUF key {}", key) : fmt::format("config.json: {}", key);
  }

  // Under text_config in the files of multi-modal models.
  const MetaValue* find(std::string_view key) const {
    if (const MetaValue* v = meta_.find(key)) return v;
    return gguf_ ? nullptr : meta_.find("text_config." + std::string(key));
  }

  std::optional<double> number(std::string_view key) const {
    const MetaValue* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (const auto* list = std::get_if<std::vector<int64_t>>(v)) {
      if (list->empty()) fail(ErrorKind::bad_input, "{} is an empty list", spelled(key));
      if (std::adjacent_find(list->begin(), list->end(), std::not_equal_to<>()) != list->end()) {
        fail(ErrorKind::unsupported, "{} differs from layer to layer, which is not supported", spelled(key));
      }
      return static_cast<double>(list->front());
    }
    Meta one;
    one.set("v", *v);
    const auto n = one.number("v");
    if (!n) fail(ErrorKind::bad_input, "{} is not a number", spelled(key));
    if (!std::isfinite(*n)) fail(ErrorKind::bad_input, "{} is not finite", spelled(key));
    return n;
  }

  std::optional<double> number(const FieldRow& row) const {
    if (gguf_) return row.gguf.empty() ? std::nullopt : number(fmt::format("{}.{}", arch_.gguf, row.gguf));
    for (const std::string_view key : row.hf) {
      if (const auto n = number(key)) return n;
    }
    return std::nullopt;
  }

  std::optional<std::string> text(std::string_view key) const {
    const MetaValue* v = find(key);
    const auto* s = v == nullptr ? nullptr : std::get_if<std::string>(v);
    return s == nullptr ? std::nullopt : std::optional(*s);
  }

  std::vector<double> list(std::string_view key) const {
    const MetaValue* v = find(key);
    if (v == nullptr) return {};
    if (const auto* d = std::get_if<std::vector<double>>(v)) return *d;
    if (const auto* i = std::get_if<std::vector<int64_t>>(v)) return {i->begin(), i->end()};
    fail(ErrorKind::bad_input, "{} is not a list of numbers", spelled(key));
  }

 private:
  const Arch& arch_;
  const Meta& meta_;
  bool gguf_;
};

constexpr double count_limit = 0x1p31;

void read_field(const Source& source, const FieldRow& row, Hparams& h) {
  auto value = source.number(row);
  if (!value) value = row.fallback;
  if (!value) fail(ErrorKind::bad_input, "{} ({}) is absent", source.spelled(row), row.name);
  if (row.kind == FieldKind::count && (std::floor(*value) != *value || *value < 0 || *value > count_limit)) {
    fail(ErrorKind::bad_input, "{} is {}, not a count", source.spelled(row), *value);
  }
  if (row.kind == FieldKind::real && (*value < 0 || *value > 1e12)) {
    fail(ErrorKind::bad_input, "{} is {}, which makes no sense", source.spelled(row), *value);
  }
  row.set(h, *value);
}

RopeScaling scaling_of(const std::string& name, const std::string& where) {
  if (name.empty() || name == "default" || name == "none") return RopeScaling::none;
  if (name == "linear") return RopeScaling::linear;
  if (name == "yarn") return RopeScaling::yarn;
  if (name == "llama3") return RopeScaling::llama3;
  if (name == "longrope" || name == "su") return RopeScaling::longrope;
  fail(ErrorKind::unsupported, "{}: rope scaling of type \"{}\" is not supported", where, name);
}

int64_t positive_count(const Source& source, std::string_view key, double value) {
  if (std::floor(value) != value || value <= 0 || value > count_limit) {
    fail(ErrorKind::bad_input, "{} is {}, not a positive count", source.spelled(key), value);
  }
  return static_cast<int64_t>(value);
}

// config.json: rope_scaling, or rope_parameters in files of later transformers versions.
void read_rope_hf(const Source& source, Hparams& h) {
  std::string type;
  std::string prefix;
  for (const char* p : {"rope_scaling.", "rope_parameters.full_attention.", "rope_parameters."}) {
    for (const char* key : {"rope_type", "type"}) {
      const auto t = source.text(std::string(p) + key);
      if (t && type.empty()) type = *t, prefix = p;
    }
  }
  h.rope_scaling = scaling_of(type, "config.json");
  if (h.rope_scaling == RopeScaling::none) return;
  const auto number = [&](const char* key, double fallback) {
    return source.number(prefix + key).value_or(fallback);
  };

  h.rope_original_context = h.context;
  for (const std::string& key :
       {std::string("original_max_position_embeddings"), prefix + "original_max_position_embeddings"}) {
    if (const auto n = source.number(key)) h.rope_original_context = positive_count(source, key, *n);
  }
  h.rope_attn_factor = number("attention_factor", 0);
  if (h.rope_scaling == RopeScaling::longrope) {
    h.rope_long = source.list(prefix + "long_factor");
    h.rope_short = source.list(prefix + "short_factor");
    h.rope_factor =
        number("factor", static_cast<double>(h.context) / static_cast<double>(h.rope_original_context));
    return;
  }
  const auto factor = source.number(prefix + "factor");
  if (!factor) fail(ErrorKind::bad_input, "{} is absent", source.spelled(prefix + "factor"));
  h.rope_factor = *factor;
  h.rope_low_freq = number("low_freq_factor", 1);
  h.rope_high_freq = number("high_freq_factor", 4);
  h.rope_beta_fast = number("beta_fast", 32);
  h.rope_beta_slow = number("beta_slow", 1);
}

void read_rope_gguf(const Source& source, const Arch& arch, Hparams& h) {
  const std::string prefix = std::string(arch.gguf) + ".rope.scaling.";
  h.rope_scaling = scaling_of(source.text(prefix + "type").value_or("linear"), "GGUF key " + prefix + "type");
  h.rope_factor = source.number(prefix + "factor").value_or(1);
  if (h.rope_scaling == RopeScaling::linear && h.rope_factor == 1) h.rope_scaling = RopeScaling::none;
  h.rope_original_context = h.context;
  const std::string original = prefix + "original_context_length";
  if (const auto n = source.number(original)) h.rope_original_context = positive_count(source, original, *n);
  h.rope_beta_fast = source.number(prefix + "yarn_beta_fast").value_or(32);
  h.rope_beta_slow = source.number(prefix + "yarn_beta_slow").value_or(1);
  const double attn = source.number(prefix + "attn_factor").value_or(1);
  if (h.rope_scaling == RopeScaling::longrope) h.rope_attn_factor = attn;
  // Readers of GGUF multiply this key with yarn's own magnitude.
  if (h.rope_scaling == RopeScaling::yarn && attn != 1 && h.rope_factor >= 1) {
    h.rope_attn_factor = attn * (1 + 0.1 * std::log(h.rope_factor));
  }
}

void require(bool good, const std::string& where, const std::string& what) {
  if (!good) fail(ErrorKind::bad_input, "{}: {}", where, what);
}

// Limits keep every product of two of them far below 2^62.
void check(const Arch& arch, const Hparams& h, const std::string& where) {
  const auto within = [&](int64_t v, int64_t limit, const char* what) {
    require(v > 0 && v <= limit, where, fmt::format("{} is {}, expected 1 to {}", what, v, limit));
  };
  within(h.vocab, int64_t{1} << 26, "the vocabulary size");
  within(h.hidden, int64_t{1} << 20, "the hidden width");
  within(h.layers, int64_t{1} << 14, "the number of layers");
  within(h.context, int64_t{1} << 31, "the context length");
  within(h.heads, int64_t{1} << 16, "the number of heads");
  within(h.kv_heads, h.heads, "the number of key/value heads");
  within(h.head_dim, int64_t{1} << 16, "the head size");
  if (h.experts == 0 || h.ffn != 0) within(h.ffn, int64_t{1} << 24, "the feed-forward width");
  require(h.heads % h.kv_heads == 0, where,
          fmt::format("{} heads do not divide into {} key/value heads", h.heads, h.kv_heads));
  require(h.norm_eps > 0 && h.norm_eps < 1, where,
          fmt::format("a norm epsilon of {} makes no sense", h.norm_eps));
  if (h.experts > 0) {
    within(h.experts, int64_t{1} << 14, "the number of experts");
    within(h.experts_used, h.experts, "the number of experts used");
    within(h.expert_ffn, int64_t{1} << 24, "the width of an expert");
  }
  if (arch.rope == RopeStyle::none) return;
  require(h.rope_dim > 0 && h.rope_dim % 2 == 0 && h.rope_dim <= h.head_dim, where,
          fmt::format("{} rotating entries of heads of {}", h.rope_dim, h.head_dim));
  require(h.rope_theta > 0, where, "the rope base is zero");
  require(h.rope_scaling == RopeScaling::none || (h.rope_factor > 0 && h.rope_factor < 1e6), where,
          fmt::format("a rope scaling factor of {} makes no sense", h.rope_factor));
  if (h.rope_scaling == RopeScaling::llama3) {
    require(h.rope_low_freq > 0 && h.rope_high_freq > h.rope_low_freq, where,
            "low_freq_factor must be below high_freq_factor");
  }
  for (const std::vector<double>* factors : {&h.rope_long, &h.rope_short}) {
    if (factors->empty()) continue;
    require(static_cast<int64_t>(factors->size()) == h.rope_dim / 2, where,
            fmt::format("{} rope factors for {} rotating entries", factors->size(), h.rope_dim));
    require(std::all_of(factors->begin(), factors->end(), [](double f) { return f > 0 && f < 1e9; }), where,
            "a rope factor is not positive");
  }
}

Activation activation_of(const Arch& arch) {
  for (const Step& s : arch.layer) {
    if (s.kind == Step::Kind::mlp) return s.mlp.act;
    if (s.kind == Step::Kind::moe) return s.moe.act;
  }
  return Activation::silu;
}

// The two spellings of GELU may stand for each other; any other activation makes another model.
std::optional<Activation> read_activation(const Arch& arch, const Source& source) {
  std::optional<std::string> name;
  for (const char* key : {"hidden_activation", "hidden_act", "activation_function", "activation"}) {
    if (!name) name = source.text(key);
  }
  if (!name) return std::nullopt;
  const std::string& n = *name;
  std::optional<Activation> named;
  if (n == "silu" || n == "swish") named = Activation::silu;
  if (n == "gelu_new" || n == "gelu_pytorch_tanh" || n == "gelu_fast") named = Activation::gelu_tanh;
  if (n == "gelu" || n == "gelu_python") named = Activation::gelu_erf;
  if (n == "relu") named = Activation::relu;
  const Activation usual = activation_of(arch);
  if (named == usual) return std::nullopt;
  const auto is_gelu = [](Activation a) { return a == Activation::gelu_tanh || a == Activation::gelu_erf; };
  if (named && is_gelu(*named) && is_gelu(usual)) return named;
  fail(ErrorKind::unsupported, "config.json: activation \"{}\" is not supported for {}", n, arch.name);
}

}  // namespace

Hparams read_hparams(const Arch& arch, const Meta& meta, bool from_gguf) {
  const Source source(arch, meta, from_gguf);
  const std::string where = from_gguf ? "GGUF metadata" : "config.json";
  Hparams h;
  for (const FieldRow& row : arch.fields) read_field(source, row, h);
  if (from_gguf && h.vocab == 0) {
    const MetaValue* v = meta.find("tokenizer.ggml.tokens");
    const auto* tokens = v == nullptr ? nullptr : std::get_if<std::vector<std::string>>(v);
    if (tokens != nullptr) h.vocab = static_cast<int64_t>(tokens->size());
  }
  if (h.kv_heads == 0) h.kv_heads = h.heads;
  if (h.head_dim == 0 && h.heads > 0) {
    require(h.hidden % h.heads == 0, where, fmt::format("{} heads do not divide {}", h.heads, h.hidden));
    h.head_dim = h.hidden / h.heads;
  }
  if (!from_gguf) h.tied = source.number("tie_word_embeddings").value_or(0) != 0;
  if (arch.finish != nullptr) arch.finish(h, meta, from_gguf);
  if (arch.rope != RopeStyle::none) {
    if (h.rope_dim == 0) h.rope_dim = h.head_dim;
    if (from_gguf) {
      read_rope_gguf(source, arch, h);
    } else {
      read_rope_hf(source, h);
    }
  }
  if (from_gguf) {
    const auto value_length = source.number(fmt::format("{}.attention.value_length", arch.gguf));
    if (value_length && *value_length != static_cast<double>(h.head_dim)) {
      fail(ErrorKind::unsupported,
           "GGUF key {}.attention.value_length: values of another size than keys ({}) are not "
           "supported",
           arch.gguf, h.head_dim);
    }
  } else {
    h.activation = read_activation(arch, source);
  }
  check(arch, h, where);
  return h;
}

std::vector<float> llama3_rope_factors(const Hparams& h) {
  std::vector<float> factors;
  const double low = static_cast<double>(h.rope_original_context) / h.rope_low_freq;
  const double high = static_cast<double>(h.rope_original_context) / h.rope_high_freq;
  constexpr double tau = 6.283185307179586476925;
  for (int64_t j = 0; j < h.rope_dim / 2; ++j) {
    const double exponent = 2 * static_cast<double>(j) / static_cast<double>(h.rope_dim);
    const double wavelength = tau * std::pow(h.rope_theta, exponent);
    double factor = 1;
    if (wavelength > low) {
      factor = h.rope_factor;
    } else if (wavelength >= high) {
      const double smooth = (static_cast<double>(h.rope_original_context) / wavelength - h.rope_low_freq) /
                            (h.rope_high_freq - h.rope_low_freq);
      factor = 1 / ((1 - smooth) / h.rope_factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

}  // namespace nibble
