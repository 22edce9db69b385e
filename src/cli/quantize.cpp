#include <CLI/CLI.hpp>

#include "cli/job_verb.h"
#include "cli/output_path.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string input, output, type, to;
  int threads = 0;  // llama-quantize's fourth word
  std::vector<std::string> tensor, keep;
  std::string output_type, embedding_type, solver = "nearest";
  bool pure = false, leave_output = false, substitute = false, requantize = false;
  JobWords job;
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

void quantize(const Options& o, const Common& common) {
  const Recipe recipe = recipe_of(o);
  const Checkpoint source = open_source(o.input, o.output, o.job);
  run_planned(plan_quantization(source, target_of(o.output), recipe), o.output, "quantize", o.job, common,
              o.threads);
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
  o->job.add_to(app);
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
