#include <CLI/CLI.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/certificate.h"
#include "cli/verb.h"
#include "eval/compare.h"
#include "eval/module_sizes.h"
#include "model/checkpoint.h"

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model, against;
  std::string text;
  bool tensors = false, kv = false, check = false;
  int depth = 4;
};

struct FormatShare {
  int tensors = 0;
  uint64_t weights = 0, bytes = 0;
};

std::string printed(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          const std::string cut = v.size() > 100 ? v.substr(0, 100) + "..." : v;
          return Json(cut).dump(-1, ' ', false, Json::error_handler_t::replace);
        } else if constexpr (std::is_same_v<T, bool>) {
          return v ? "true" : "false";
        } else if constexpr (std::is_arithmetic_v<T>) {
          return fmt::format("{}", v);
        } else {
          return fmt::format("[{} values]", v.size());
        }
      },
      value);
}

/// JSON has no infinity: a tensor without any error has no SQNR to state.
Json finite(double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }

std::string hf_name(const CanonicalTensor& t) { return t.hf.empty() ? t.name : t.hf; }

class Report {
 public:
  Report(const Checkpoint& c, const Options& o) : c_(c), o_(o) {
    for (const CanonicalTensor& t : c.tensors()) {
      const auto n = static_cast<uint64_t>(t.shape.elements());
      weights_ += n;
      bytes_ += t.source_bytes;
      FormatShare& f = formats_[t.format.to_string()];
      ++f.tensors;
      f.weights += n;
      f.bytes += t.source_bytes;
      sizes_.push_back({hf_name(t), n, t.source_bytes});
    }
  }

  void compare(const std::vector<TensorComparison>& rows) {
    rows_ = rows;
    for (const TensorComparison& r : rows) all_.merge(r.distortion);
  }

  void print() const {
    print_head();
    print_formats();
    print_modules();
    if (o_.kv) {
      fmt::print("\nmetadata\n");
      for (const auto& [key, value] : c_.meta().values()) fmt::print("  {} = {}\n", key, printed(value));
    }
    if (!rows_.empty()) {
      print_errors();
    } else if (o_.tensors) {
      fmt::print("\n{:<44} {:<18} {:<16} {:>10}\n", "tensor", "shape", "format", "bytes");
      for (const CanonicalTensor& t : c_.tensors()) {
        fmt::print("{:<44} {:<18} {:<16} {:>10}\n", t.name, t.shape.to_string(), t.format.to_string(),
                   size(t.source_bytes));
      }
    }
  }

  Json json() const {
    const Hparams& h = c_.hparams();
    Json j{{"path", c_.path()},         {"architecture", c_.arch().name},
           {"weights", weights_},       {"bytes", bytes_},
           {"bits_per_weight", bits()}, {"layers", h.layers},
           {"hidden", h.hidden},        {"heads", h.heads},
           {"kv_heads", h.kv_heads},    {"context", h.context},
           {"vocab", h.vocab}};
    for (const auto& [name, f] : formats_) {
      j["formats"][name] = {{"tensors", f.tensors}, {"weights", f.weights}, {"bytes", f.bytes}};
    }
    for (const ModuleSize& m : module_sizes(sizes_, o_.depth)) {
      j["modules"].push_back(
          {{"name", m.name}, {"weights", m.weights}, {"bytes", m.bytes}, {"tensors", m.tensors}});
    }
    for (const Certificate& c : certificates(c_)) j["certificates"].push_back(Json::parse(c.to_json()));
    for (size_t i = 0; i < c_.tensors().size(); ++i) {
      const CanonicalTensor& t = c_.tensors()[i];
      Json row{{"name", t.name},
               {"hf_name", t.hf},
               {"shape", t.shape.dims()},
               {"format", t.format.to_string()},
               {"bytes", t.source_bytes}};
      if (!rows_.empty()) row["error"] = error_json(rows_[i].distortion);
      j["tensors"].push_back(std::move(row));
    }
    if (!rows_.empty()) j["error"] = error_json(all_);
    return j;
  }

 private:
  static std::string size(uint64_t bytes) { return human_bytes(static_cast<double>(bytes)); }
  double bits() const {
    return weights_ == 0 ? 0 : 8.0 * static_cast<double>(bytes_) / static_cast<double>(weights_);
  }
  static Json error_json(const Distortion& d) {
    return {{"rmse", d.rmse()},
            {"relative", finite(d.relative_error())},
            {"max", d.max_error()},
            {"sqnr_db", finite(d.sqnr_db())},
            {"cosine", d.cosine()}};
  }

  void print_head() const {
    const Hparams& h = c_.hparams();
    fmt::print("{}\n", c_.path());
    fmt::print(
        "  {}, {} layers, width {}, {} heads ({} key/value), feed-forward {}, context {}, vocabulary {}{}\n",
        c_.arch().name, h.layers, h.hidden, h.heads, h.kv_heads, h.experts > 0 ? h.expert_ffn : h.ffn,
        h.context, h.vocab,
        h.experts > 0 ? fmt::format(", {} experts ({} used)", h.experts, h.experts_used) : "");
    fmt::print("  {} weights, {}, {:.3f} bits per weight{}\n", weights_, size(bytes_), bits(),
               h.tied ? ", tied embeddings" : "");
  }

  void print_formats() const {
    fmt::print("\n{:<18} {:>7} {:>14} {:>10} {:>7} {:>7}\n", "format", "tensors", "weights", "bytes", "share",
               "bits/w");
    for (const auto& [name, f] : formats_) {
      fmt::print("{:<18} {:>7} {:>14} {:>10} {:>6.1f}% {:>7.3f}\n", name, f.tensors, f.weights, size(f.bytes),
                 100.0 * static_cast<double>(f.bytes) / static_cast<double>(std::max<uint64_t>(1, bytes_)),
                 8.0 * static_cast<double>(f.bytes) / static_cast<double>(std::max<uint64_t>(1, f.weights)));
    }
  }

  void print_modules() const {
    fmt::print("\n{:<48} {:>14} {:>10} {:>7}\n", "module", "weights", "bytes", "share");
    for (const ModuleSize& m : module_sizes(sizes_, o_.depth)) {
      const std::string name = m.depth == 0 ? "(model)" : m.name.substr(m.name.rfind('.') + 1);
      fmt::print("{:<48} {:>14} {:>10} {:>6.1f}%\n",
                 std::string(static_cast<size_t>(2 * m.depth), ' ') + name, m.weights, size(m.bytes),
                 100.0 * static_cast<double>(m.bytes) / static_cast<double>(std::max<uint64_t>(1, bytes_)));
    }
  }

  void print_errors() const {
    fmt::print("\n{:<32} {:<14} {:>10} {:>9} {:>10} {:>8} {:>10}\n", "tensor", "format", "RMSE", "relative",
               "max error", "SQNR dB", "cosine");
    for (const TensorComparison& r : rows_) {
      if (r.shape.rank() < 2 && !o_.tensors && r.distortion.max_error() == 0) continue;
      line(r.name, r.format.to_string(), r.distortion);
    }
    line("all weights", "", all_);
  }
  static void line(const std::string& name, const std::string& format, const Distortion& d) {
    fmt::print("{:<32} {:<14} {:>10.4g} {:>8.3f}% {:>10.4g} {:>8.2f} {:>10.7f}\n", name, format, d.rmse(),
               100 * d.relative_error(), d.max_error(), d.sqnr_db(), d.cosine());
  }

  const Checkpoint& c_;
  const Options& o_;
  uint64_t weights_ = 0, bytes_ = 0;
  std::map<std::string, FormatShare> formats_;
  std::vector<NamedSize> sizes_;
  std::vector<TensorComparison> rows_;
  Distortion all_;
};

/// A GGUF file that holds a vocabulary and no model: its metadata is all there is to see.
bool inspect_vocabulary(const Options& o, const Common& common) {
  const TensorFile file = open_tensor_file(o.model);
  if (!file.tensors().empty() || file.kind() != "gguf") return false;
  if (common.json) {
    Json j{{"path", o.model},
           {"architecture", file.metadata().text("general.architecture").value_or("")},
           {"weights", 0}};
    for (const auto& [key, value] : file.metadata().values()) j["metadata"][key] = printed(value);
    fmt::print("{}\n", j.dump(2));
    return true;
  }
  fmt::print("{}\n  a vocabulary without tensors\n\nmetadata\n", o.model);
  for (const auto& [key, value] : file.metadata().values()) fmt::print("  {} = {}\n", key, printed(value));
  return true;
}

void inspect(const Options& o, const Common& common) {
  if (inspect_vocabulary(o, common)) return;
  const Checkpoint model = open_checkpoint(o.model);
  if (o.check) {
    if (!o.text.empty() && o.against.empty())
      throw Error(ErrorKind::usage, "to measure a certificate again --text needs --against", "");
    return check_certificates(model, {o.text, o.against}, common);
  }
  Report report(model, o);
  if (!o.against.empty()) {
    ThreadPool pool(common.threads);
    Progress progress(common.progress_style());
    report.compare(compare_tensors(model, open_checkpoint(o.against), pool, progress));
  }
  if (common.json) {
    fmt::print("{}\n", report.json().dump(2));
  } else {
    report.print();
    print_certificates(model);
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "Hugging Face folder, safetensors, torch or GGUF file")->required();
  app.add_option("--against", o->against, "the original: adds the error of every tensor");
  app.add_flag("--check", o->check,
               "are the weights the certified ones; with --text and --against: measure the figures again");
  app.add_option("--text,-f", o->text, "the text of the certificate to check");
  app.add_flag("--tensors", o->tensors, "list every tensor");
  app.add_flag("--metadata", o->kv, "list the metadata");
  app.add_option("--depth", o->depth, "how deep to list modules")
      ->capture_default_str()
      ->check(CLI::Range(0, 16));
  return [o](const Common& common) { inspect(*o, common); };
}

}  // namespace

extern const Verb inspect_verb;
const Verb inspect_verb{"inspect", "show what a model is made of, and what quantization did to each tensor",
                        "nibble inspect out.gguf\n"
                        "nibble inspect out.gguf --against ./my-llama\n"
                        "nibble inspect out.gguf --tensors --metadata\n"
                        "nibble inspect out.gguf --check --against ./my-llama --text wiki.txt",
                        setup};

}  // namespace nibble::cli
