#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/activations.h"
#include "cli/certificate.h"
#include "cli/kv_option.h"
#include "cli/scoring.h"
#include "cli/text_input.h"
#include "cli/verb.h"

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> models;
  std::string text, against, protocol = "chunks";
  int64_t context = 0, stride = 0, windows = 0;
  bool fast = false;
  std::string kv = "f32";
  bool certify = false;
  ActivationOptions activations;
};

/// One line of the table.
struct Row {
  std::string path;
  uint64_t bytes = 0, weights = 0;
  Divergence scores;

  double bits() const {
    return weights == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
  }
};

Row row_of(const Checkpoint& c) {
  Row r;
  r.path = c.path();
  for (const CanonicalTensor& t : c.tensors()) {
    r.bytes += t.source_bytes;
    r.weights += static_cast<uint64_t>(t.shape.elements());
  }
  return r;
}

Protocol protocol_of(const Options& o, int64_t trained_context) {
  Protocol p;
  p.kind = o.protocol == "chunks" ? Protocol::Kind::chunks : Protocol::Kind::stride;
  const int64_t usual = trained_context > 0 ? std::min<int64_t>(512, trained_context) : 512;
  p.context = o.context > 0 ? o.context : usual;
  p.stride = o.stride > 0 ? o.stride : p.context / 2;
  p.max_windows = o.windows;
  return p;
}

Json estimate(const Estimate& e) { return {{"value", e.value}, {"standard_error", e.error}}; }

Json json_of(const Row& r) {
  const Divergence& d = r.scores;
  Json j{{"model", r.path},
         {"bytes", r.bytes},
         {"bits_per_weight", r.bits()},
         {"scored_tokens", d.tokens()},
         {"perplexity", estimate(d.perplexity())}};
  if (d.compared()) {
    j["reference_perplexity"] = estimate(d.reference_perplexity());
    j["perplexity_ratio"] = estimate(d.perplexity_ratio());
    j["kl_divergence"] = {{"mean", estimate(d.mean_kl())},
                          {"median", estimate(d.kl_quantile(0.5))},
                          {"p99", estimate(d.kl_quantile(0.99))},
                          {"max", d.max_kl()}};
    j["same_top"] = estimate(d.same_top());
    j["delta_p_mean"] = estimate(d.mean_delta_p());
    j["delta_p_rms"] = estimate(d.rms_delta_p());
  }
  return j;
}

void print_one(const Row& r) {
  const Divergence& d = r.scores;
  const auto line = [](std::string_view name, const Estimate& e, double scale, std::string_view unit) {
    fmt::print("  {:<28} {:>12.6f} ± {:.6f}{}\n", name, e.value * scale, e.error * scale, unit);
  };
  fmt::print("{}\n  {:<28} {:>12}\n  {:<28} {:>12.3f}\n", r.path, "size",
             human_bytes(static_cast<double>(r.bytes)), "bits per weight", r.bits());
  line("perplexity", d.perplexity(), 1, "");
  if (!d.compared()) return;
  line("perplexity of the reference", d.reference_perplexity(), 1, "");
  line("perplexity ratio", d.perplexity_ratio(), 1, "");
  line("KL divergence, mean", d.mean_kl(), 1, " nats/token");
  line("KL divergence, median", d.kl_quantile(0.5), 1, "");
  line("KL divergence, 99 %", d.kl_quantile(0.99), 1, "");
  fmt::print("  {:<28} {:>12.6f}\n", "KL divergence, max", d.max_kl());
  line("same top token", d.same_top(), 100, " %");
  line("Δ p(right token), mean", d.mean_delta_p(), 100, " %");
  line("Δ p(right token), rms", d.rms_delta_p(), 100, " %");
}

void print_table(const std::vector<Row>& rows) {
  size_t width = 8;
  for (const Row& r : rows) width = std::max(width, r.path.size());
  fmt::print("{:<{}} {:>9} {:>7} {:>22} {:>16} {:>20}\n", "model", width, "size", "bits/w", "KL divergence",
             "same top", "perplexity");
  for (const Row& r : rows) {
    const Divergence& d = r.scores;
    const std::string kl =
        d.compared() ? fmt::format("{:.6f} ± {:.6f}", d.mean_kl().value, d.mean_kl().error) : "-";
    const std::string top =
        d.compared() ? fmt::format("{:.2f} ± {:.2f} %", 100 * d.same_top().value, 100 * d.same_top().error)
                     : "-";
    fmt::print("{:<{}} {:>9} {:>7.3f} {:>22} {:>16} {:>20}\n", r.path, width,
               human_bytes(static_cast<double>(r.bytes)), r.bits(), kl, top,
               fmt::format("{:.4f} ± {:.4f}", d.perplexity().value, d.perplexity().error));
  }
}

void eval(const Options& o, const Common& common) {
  if (o.certify && o.against.empty())
    throw Error(ErrorKind::usage, "--certify needs --against: a certificate says what was lost", "");
  if (o.certify && o.kv != "f32")
    throw Error(ErrorKind::usage, "a certificate is about weights: --certify keeps keys and values exactly",
                "leave --kv out");
  std::vector<Row> rows;
  std::vector<Checkpoint> models;
  for (const std::string& path : o.models) {
    models.push_back(open_checkpoint(path));
    rows.push_back(row_of(models.back()));
  }
  std::optional<Checkpoint> reference;
  if (!o.against.empty()) reference = open_checkpoint(o.against);
  const Protocol protocol = protocol_of(o, (reference ? *reference : models.front()).hparams().context);
  const std::string text = read_text(o.text);
  const std::optional<ActivationPlan> plan = o.activations.plan();
  Scoring s = score(models, reference ? &*reference : nullptr, text, protocol, common,
                    {o.fast ? Precision::fast : Precision::exact, plan ? &*plan : nullptr, o.kv});
  for (size_t i = 0; i < rows.size(); ++i) rows[i].scores = std::move(s.results[i]);
  for (size_t i = 0; o.certify && i < rows.size(); ++i) {
    write_certificate(models[i], *reference, text, protocol, rows[i].scores, common);
  }

  if (common.json) {
    Json j{{"text", o.text},
           {"protocol", protocol.to_string()},
           {"context", protocol.context},
           {"windows", s.windows}};
    if (plan) j["activations"] = plan->scheme.to_string();
    j["kv"] = o.kv;
    if (!o.against.empty()) j["reference"] = o.against;
    for (const Row& r : rows) j["models"].push_back(json_of(r));
    fmt::print("{}\n", j.dump(2));
    return;
  }
  fmt::print("{}: {}; {} tokens scored{}\n\n", o.text, protocol.to_string(), s.scored,
             o.against.empty() ? "" : fmt::format(", against {}", o.against));
  if (rows.size() == 1) {
    print_one(rows.front());
  } else {
    print_table(rows);
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("models", o->models, "one model or several; all are scored in one go")->required();
  app.add_option("--text,-f", o->text, "UTF-8 text to predict; - for standard input")->required();
  app.add_option("--against", o->against, "the original: adds KL divergence and its company");
  app.add_flag("--certify", o->certify,
               "store the result in the model's own file, for inspect to show and check (with --against)");
  app.add_option("--protocol", o->protocol, "chunks: as llama.cpp; stride: full text, as Hugging Face")
      ->check(CLI::IsMember({"chunks", "stride"}))
      ->capture_default_str();
  app.add_option("--ctx,-c", o->context,
                 "tokens of a chunk or window (default: 512, or what the model was trained on)");
  app.add_option("--stride", o->stride, "tokens between windows (default: half the context)");
  app.add_option("--chunks", o->windows, "stop after this many chunks or windows");
  app.add_flag("--fast", o->fast,
               "round activations as nibble run does; the original stays exact (default: exact for all)");
  add_kv_option(app, o->kv);
  o->activations.add_to(app);
  return [o](const Common& common) { eval(*o, common); };
}

}  // namespace

extern const Verb eval_verb;
const Verb eval_verb{
    "eval", "measure a model on a text: perplexity, divergence from the original",
    "nibble eval out.gguf --text wiki.txt\n"
    "nibble eval out.gguf --text wiki.txt --against ./my-llama\n"
    "nibble eval out.gguf --text wiki.txt --against ./my-llama --certify\n"
    "nibble eval a.gguf b.gguf c/ --text wiki.txt --against ./my-llama --ctx 512 --chunks 100",
    setup};

}  // namespace nibble::cli
