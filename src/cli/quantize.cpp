#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/output_path.h"
#include "cli/verb.h"
#include "pipeline/job.h"
#include "pipeline/mix.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string input, output, type, to;
  int threads = 0;  // llama-quantize's fourth word
  std::vector<std::string> tensor, keep;
  std::string output_type, embedding_type, ledger, solver = "nearest";
  bool pure = false, leave_output = false, substitute = false, requantize = false, drop_unknown = false,
       dry_run = false, fresh = false;
};

Recipe recipe_of(const Options& o) {
  Recipe r;
  if (!o.type.empty() && !o.to.empty())
    fail(ErrorKind::usage, "both a type ({}) and --to {} are given", o.type, o.to);
  r.type = o.to.empty() ? o.type : o.to;
  if (r.type.empty()) {
    throw Error(ErrorKind::usage, "which type? none is given",
                "for example q4_k_m, or --to int4:g128:asym; nibble formats lists them");
  }
  r.pure = o.pure;
  if (!o.output_type.empty()) r.overrides.push_back({"output.weight", o.output_type});
  if (!o.embedding_type.empty()) r.overrides.push_back({"token_embd.weight", o.embedding_type});
  if (o.leave_output) r.overrides.push_back({"output.weight", "keep"});
  for (const std::string& t : o.tensor) r.overrides.push_back(parse_override(t));
  for (const std::string& k : o.keep) r.overrides.push_back({k, "keep"});
  r.allow_substitution = o.substitute;
  r.allow_requantize = o.requantize;
  r.solver = o.solver;
  return r;
}

nlohmann::ordered_json summary(const QuantizationPlan& plan, const Preflight& p) {
  nlohmann::ordered_json j{{"weights", p.weights},     {"bytes_in", p.bytes_in},
                           {"bytes_out", p.bytes_out}, {"bits_per_weight", p.bits_per_weight},
                           {"memory_bound", p.memory}, {"disk_free", p.disk_free}};
  j["formats"] = plan.ledger.count_by_format();
  return j;
}

void print_preflight(const QuantizationPlan& plan, const Preflight& p, const std::string& output) {
  fmt::print(stderr, "{}: {} weights, {} -> {}, {:.3f} bits per weight\n", plan.file.checkpoint().arch().name,
             p.weights, human_bytes(static_cast<double>(p.bytes_in)),
             human_bytes(static_cast<double>(p.bytes_out)), p.bits_per_weight);
  std::string formats;
  for (const auto& [format, count] : plan.ledger.count_by_format()) {
    formats += fmt::format("{}{} x {}", formats.empty() ? "" : ", ", count, format);
  }
  fmt::print(stderr, "tensors: {}\nneeds {} of memory at most; {} has {} free\n", formats,
             human_bytes(static_cast<double>(p.memory)),
             std::filesystem::absolute(output).parent_path().string(),
             human_bytes(static_cast<double>(p.disk_free)));
  for (const LedgerLine& l : plan.ledger.lines) {
    if (l.fate == Fate::substituted) {
      fmt::print(stderr, "substituted: {} is {} instead of {}: {}\n", l.target, l.to, l.asked, l.reason);
    } else if (l.fate == Fate::dropped) {
      fmt::print(stderr, "dropped: {}: {}\n", l.source, l.reason);
    }
  }
}

void quantize(const Options& o, const Common& common) {
  const Recipe recipe = recipe_of(o);
  const Checkpoint source = open_checkpoint(o.input);
  const Target target = target_of(o.output);
  refuse_own_source(source, o.output);
  refuse_unknown(source, o.drop_unknown);
  const QuantizationPlan plan = plan_quantization(source, target, recipe);
  ThreadPool pool(o.threads > 0 ? o.threads : common.threads);
  const Preflight p = preflight(plan, o.output, pool.threads());
  if (!common.quiet && !common.json) print_preflight(plan, p, o.output);
  if (!o.ledger.empty()) write_text(o.ledger, plan.ledger.to_json() + "\n");
  nlohmann::ordered_json j = summary(plan, p);
  if (o.dry_run) {
    if (common.json) {
      j["ledger"] = nlohmann::ordered_json::parse(plan.ledger.to_json());
      fmt::print("{}\n", j.dump(2));
    } else {
      fmt::print("{}", plan.ledger.to_text());
    }
    return;
  }
  Progress progress(common.progress_style());
  const JobResult result = run_job(plan, {o.output, o.fresh}, pool, progress);
  if (common.json) {
    j["seconds"] = result.seconds;
    j["resumed_tensors"] = result.resumed;
    j["output"] = result.path;
    fmt::print("{}\n", j.dump(2));
  } else if (!common.quiet) {
    if (result.resumed > 0)
      fmt::print(stderr, "{} tensors were finished by an earlier try\n", result.resumed);
    fmt::print(stderr, "{} is complete: {} in {}\n", result.path,
               human_bytes(static_cast<double>(p.bytes_out)), human_seconds(result.seconds));
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("input", o->input, "Hugging Face folder, safetensors, torch or GGUF file")->required();
  app.add_option("output", o->output, "a file ending in .gguf, or a folder for safetensors")->required();
  app.add_option("type", o->type, "a mix (q4_k_m, q8_0, iq4_xs ...) or a format word");
  app.add_option("nthreads", o->threads, "threads, where llama-quantize takes them")
      ->check(CLI::Range(1, 1024));
  app.add_option("--to", o->to,
                 "format word for every matrix: int4:g128:asym, nf4:b64:dq, kmeans16:channel ...");
  app.add_option("--tensor", o->tensor, "PATTERN=FORMAT for tensors of that name; the last match counts")
      ->allow_extra_args(false);
  app.add_option("--keep", o->keep, "PATTERN of tensors to leave in their float type")
      ->allow_extra_args(false);
  app.add_option("--output-tensor-type", o->output_type, "format of the output matrix");
  app.add_option("--token-embedding-type", o->embedding_type, "format of the token embedding");
  app.add_flag("--leave-output-tensor", o->leave_output, "keep the output matrix");
  app.add_flag("--pure", o->pure, "the mix's base format for every matrix");
  app.add_option("--solver", o->solver, "how codes are chosen")->capture_default_str();
  app.add_flag("--allow-substitution", o->substitute,
               "where a shape does not fit, take the nearest format that does");
  app.add_flag("--allow-requantize", o->requantize, "accept a source that is already quantized");
  app.add_flag("--drop-unknown", o->drop_unknown, "leave out tensors that the architecture does not know");
  app.add_flag("--dry-run", o->dry_run, "print what would be done to every tensor, and stop");
  app.add_option("--ledger", o->ledger, "write the account of every tensor to this JSON file");
  app.add_flag("--fresh", o->fresh, "begin anew even if an earlier try can be resumed");
  return [o](const Common& common) { quantize(*o, common); };
}

}  // namespace

extern const Verb quantize_verb;
const Verb quantize_verb{
    "quantize", "make a model smaller",
    "nibble quantize ./my-llama out.gguf q4_k_m\n"
    "nibble quantize in.gguf out.gguf Q4_K_M 8\n"
    "nibble quantize ./my-llama out/ --to int4:g128:asym --tensor 'lm_head=int8:channel' --keep '*norm*'\n"
    "nibble quantize ./my-llama out.gguf q4_k_m --dry-run",
    setup};

}  // namespace nibble::cli
