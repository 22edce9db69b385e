#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/calibration.h"
#include "cli/format_search.h"
#include "cli/job_verb.h"
#include "cli/output_path.h"
#include "cli/report.h"
#include "cli/switch.h"
#include "methods/transforms/channel_transform.h"
#include "pipeline/activation_ranges.h"
#include "pipeline/calibrate_job.h"
#include "pipeline/recipe_file.h"
#include "pipeline/rotated.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string input, output, type, to;
  int threads = 0;  // llama-quantize's fourth word
  std::vector<std::string> tensor, keep;
  std::string output_type, embedding_type, solver;
  bool leave_output = false, requantize = false;
  std::optional<bool> pure, substitute, act_order, static_groups;  // a recipe may say either
  std::string imatrix, stats;
  std::vector<std::string> with;
  std::string recipe, save_recipe;
  std::string activations, range;
  std::vector<std::string> activations_keep;
  std::optional<double> damping;
  std::optional<int> passes;
  CalibrationWords calibration;
  SearchWords search;
  ReportWords report;
  JobWords job;
};

/// What --recipe says, and what the other options say in its place.
Recipe recipe_of(const Options& o, const RecipeText& text, Target target) {
  Recipe r = text.recipe;
  if (target == Target::gguf && !text.gguf_type.empty()) r.type = text.gguf_type;
  if (!o.type.empty() && !o.to.empty())
    fail(ErrorKind::usage, "both a type ({}) and --to {} are given", o.type, o.to);
  if (!o.type.empty() || !o.to.empty()) r.type = o.to.empty() ? o.type : o.to;
  if (o.search.given() && !r.type.empty()) {
    throw Error(ErrorKind::usage, fmt::format("a type ({}) and a goal are given", r.type),
                "leave the type out; --formats says what to choose from");
  }
  if (r.type.empty() && !o.search.given()) {
    throw Error(ErrorKind::usage, "which type? none is given",
                "for example q4_k_m, or --to int4:g128:asym; nibble formats lists them");
  }
  r.pure = o.pure.value_or(r.pure);
  if (!o.output_type.empty()) r.overrides.push_back({"output.weight", o.output_type});
  if (!o.embedding_type.empty()) r.overrides.push_back({"token_embd.weight", o.embedding_type});
  if (o.leave_output) r.overrides.push_back({"output.weight", "keep"});
  for (const std::string& t : o.tensor) r.overrides.push_back(parse_override(t));
  for (const std::string& k : o.keep) r.overrides.push_back({k, "keep"});
  r.allow_substitution = o.substitute.value_or(r.allow_substitution);
  r.allow_requantize = o.requantize;
  const std::string usual = o.search.given() ? "gptq" : "nearest";
  if (!o.solver.empty() || o.recipe.empty()) r.solver = o.solver.empty() ? usual : o.solver;
  if (o.damping) r.options.damping = *o.damping;
  if (o.passes) r.options.passes = *o.passes;
  r.options.act_order = o.act_order.value_or(r.options.act_order);
  r.options.static_groups = o.static_groups.value_or(r.options.static_groups);
  if (!o.with.empty()) r.with = o.with;
  if (!o.activations.empty()) r.activations = ActivationScheme::parse(o.activations);
  if (!o.range.empty()) r.range = o.range;
  if (!o.activations_keep.empty()) r.activations_keep = o.activations_keep;
  if (!r.activations && (!r.activations_keep.empty() || !o.range.empty()))
    throw Error(ErrorKind::usage, "--act-keep and --act-range need --activations", "");
  r.range = RangeRule::parse(r.range).to_string();
  // The solver is a word too: --with awq,gptq.
  std::erase_if(r.with, [&](const std::string& word) {
    const bool is_solver =
        std::any_of(solvers().begin(), solvers().end(), [&](const Solver* s) { return s->name() == word; });
    if (is_solver) r.solver = word;
    return is_solver;
  });
  if ((r.options.act_order || r.options.static_groups) && !solver_of(r.solver).needs().hessian) {
    throw Error(ErrorKind::usage, fmt::format("--act-order and --static-groups say nothing to {}", r.solver),
                "they belong to error feedback: --solver gptq; --no-act-order and --no-static-groups switch "
                "off what a recipe says");
  }
  if (const auto rotation = r.rotation()) r.with.front() = rotation->to_string();
  return r;
}

/// Refuses options that would change nothing: `given` says how to collect statistics, and none are collected.
void refuse_idle(const CalibrationWords& given, const Options& o, const Recipe& recipe) {
  const std::string how = given.how();
  if (how.empty() || o.search.given()) return;
  const std::string says = how + (how.find(',') == std::string::npos ? " says" : " say");
  for (const auto& [option, path] : {std::pair{"--stats", o.stats}, {"--imatrix", o.imatrix}}) {
    if (path.empty()) continue;
    throw Error(ErrorKind::usage,
                fmt::format("{} how statistics are collected on a text; those of {} {} stand there already",
                            says, option, path),
                "leave it out, or collect anew with --calibrate TEXT (nibble calibrate makes such a file)");
  }
  if (o.calibration.source.empty() && !recipe.needs().any()) {
    throw Error(
        ErrorKind::usage,
        fmt::format("{} how statistics are collected on a text; solver '{}' needs none", says, recipe.solver),
        "leave it out, or collect some: --calibrate TEXT, for instance with --solver gptq");
  }
}

/// Where the solver, the transforms and static ranges get their statistics.
struct Statistics {
  std::shared_ptr<StatsSource> source;  ///< null if nothing is needed and nothing is given
  std::string folder;                   ///< that is not needed any more when the job is done
};

Statistics statistics(const Options& o, const Recipe& recipe, const Checkpoint& source, Target target,
                      const Common& common, ThreadPool& pool) {
  const Needs needs = recipe.needs();
  const std::string& text = o.calibration.source;
  if ((o.imatrix.empty() ? 0 : 1) + (o.stats.empty() ? 0 : 1) + (text.empty() ? 0 : 1) > 1)
    throw Error(ErrorKind::usage, "--imatrix, --stats and --calibrate are sources of the same thing",
                "give one of them");
  if (recipe.rotation() && (!o.imatrix.empty() || !o.stats.empty()))
    throw Error(ErrorKind::usage,
                "the statistics of a file are of the model as it was, not of the rotated one",
                "--calibrate TEXT collects those of the rotated model on the way");
  if (!o.imatrix.empty()) return {imatrix_stats(o.imatrix), {}};
  if (!o.stats.empty()) return {folder_stats(o.stats, source), {}};
  if (text.empty() && !needs.any()) return {};
  CalibrationText words = o.calibration.text(source, common, pool);
  if (!recipe.static_ranges())
    return {walk_stats(source, std::move(words), needs, o.output + ".hidden.partial", pool), {}};
  // Static ranges stand at the file's beginning: they must be known before the first weight is written.
  // What cannot be planned is refused first: the walk may take hours.
  Recipe plain = recipe;
  plain.activations.reset();
  const auto planned = plan_quantization(source, target, plain, walk_stats(source, words, needs, {}, pool));
  check_activations(planned.file, recipe);
  require_room(planned, {.output = o.output}, pool.threads());
  const std::string folder = o.output + ".statistics.partial";
  Progress progress(common.progress_style());
  run_calibration(source, words, {folder, needs.hessian, needs.histogram}, pool, progress);
  return {folder_stats(folder, source), folder};
}

/// Notes, runs and cleans up; `work` (may be empty) is a folder of the job.
void run_quantization(QuantizationPlan plan, const Options& o, const std::string& work, const Common& common,
                      ThreadPool& pool) {
  note_activations(plan, pool);
  // The output says which source it is of; what that is comes out while it is read.
  record(plan.file, "nibble.source", std::string(text_to_come));
  run_planned(plan, {.output = o.output, .title = "quantize", .hash_source = true}, o.job, common, pool);
  if (!work.empty() && !o.job.dry_run) std::filesystem::remove_all(work);
  if (o.report.output.empty() || o.job.dry_run) return;
  write_report(open_checkpoint(o.output), plan.file.checkpoint(), o.report, &plan.ledger, common);
}

void quantize(const Options& given, const Common& common) {
  Options o = given;
  const RecipeText text = o.recipe.empty() ? RecipeText{} : read_recipe(o.recipe);
  const Target target = target_of(o.output);
  const Recipe recipe = recipe_of(o, text, target);
  o.calibration.fall_back_on(text.calibration);
  refuse_idle(given.calibration, o, recipe);
  if (!o.save_recipe.empty()) {
    write_text(o.save_recipe, recipe_json({recipe, o.calibration.choice()}));
    if (!common.quiet && !common.json) fmt::print(stderr, "{} holds the recipe\n", o.save_recipe);
  }
  // What is named by hand takes the place of a recipe's text.
  if (given.calibration.source.empty() && (!o.stats.empty() || !o.imatrix.empty()))
    o.calibration.source.clear();
  const Checkpoint opened = open_source(o.input, o.output, o.job);
  ThreadPool pool(o.threads > 0 ? o.threads : common.threads);
  const Checkpoint source = recipe_source(opened, recipe, pool);
  if (o.search.given()) {
    if (!o.stats.empty() || !o.imatrix.empty() || !o.with.empty() || !recipe.with.empty() || o.job.dry_run)
      throw Error(ErrorKind::usage,
                  "a search collects its own statistics, and knows no --with and no --dry-run", "");
    const FoundRecipe found =
        search_recipe(source, target, recipe, o.search, o.calibration, o.output, common, pool);
    run_quantization(plan_quantization(source, target, found.recipe, found.stats), o, found.work, common,
                     pool);
    return;
  }
  const Statistics stats = statistics(o, recipe, source, target, common, pool);
  run_quantization(plan_quantization(source, target, recipe, stats.source), o, stats.folder, common, pool);
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
  add_switch(app, "pure", o->pure, "the mix's base format for every matrix");
  app.add_option("--solver", o->solver,
                 "how codes are chosen: nearest, hqq (no data), gptq (error feedback; needs a text); default "
                 "nearest, in a search gptq");
  std::string names;
  for (const Preset& p : presets()) names += fmt::format("\n  {:<12} {}", p.name, p.summary);
  app.add_option("--recipe", o->recipe, "a recipe file, or one of these; other options change it:" + names);
  app.add_option("--save-recipe", o->save_recipe, "write the recipe that results to this JSON file");
  std::string transforms = fmt::format("\n  {:<12} {}", "rotate", rotation_summary);
  for (const ChannelTransform* t : channel_transforms())
    transforms += fmt::format("\n  {:<12} {}", t->name(), t->summary());
  app.add_option(
         "--with", o->with,
         "combine transforms before rounding and a solver, as in --with rotate,awq,gptq:" + transforms)
      ->delimiter(',');
  app.add_option("--activations", o->activations,
                 "the file asks its runtime (nibble) to round activations so: int8, int8:asym, int8:static, "
                 "int8:outliers=6, int4 ... (nibble eval --help explains)");
  app.add_option("--act-keep", o->activations_keep, "matrices whose input stays a float: '*ffn_down'")
      ->allow_extra_args(false);
  app.add_option(
      "--act-range", o->range,
      "how static ranges follow from the text: minmax (default), momentum, percentile=99.9, std=6, "
      "mse, entropy");
  app.add_option("--calibrate", o->calibration.source,
                 "text to collect statistics on: a text file, .jsonl, or a folder of them");
  o->calibration.add_to(app);
  app.add_option("--imatrix", o->imatrix, "importance matrix of llama-imatrix or nibble calibrate");
  app.add_option("--stats", o->stats, "folder of statistics that nibble calibrate made");
  const SolverOptions usual;
  app.add_option("--damping", o->damping,
                 fmt::format("share of the Hessian's mean diagonal that gptq adds to it [{}]", usual.damping))
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--passes", o->passes,
                 fmt::format("rounds of descent after error feedback, at most; 0: GPTQ as published [{}]",
                             usual.passes))
      ->check(CLI::Range(0, 1000));
  add_switch(app, "act-order", o->act_order,
             "gptq rounds columns by falling diagonal of the Hessian (desc_act), always with static groups: "
             "no format of nibble's stores a group of scattered weights (g_idx)");
  add_switch(app, "static-groups", o->static_groups,
             "gptq fits the parameters of all groups to the weights as they are, before it rounds the first "
             "column");
  add_switch(app, "allow-substitution", o->substitute,
             "where a shape does not fit, take the nearest format that does");
  app.add_flag("--allow-requantize", o->requantize, "accept a source that is already quantized");
  o->search.add_to(app);
  app.add_option("--report", o->report.output, "write what was done and lost to this HTML file");
  app.add_option("--report-text", o->report.text, "text to measure the divergence on, for the report");
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
    "nibble quantize ./my-llama out.gguf q4_k_m --solver gptq --calibrate text.txt\n"
    "nibble quantize ./my-llama out/ --recipe awq --calibrate text.txt\n"
    "nibble quantize ./my-llama out/ --recipe static-int8 --act-range percentile=99.99 --calibrate text.txt\n"
    "nibble quantize ./my-llama out.gguf q4_k_m --with rotate --solver gptq --calibrate text.txt\n"
    "nibble quantize ./my-llama out.gguf --target-size 3.5G --calibrate text.txt\n"
    "nibble quantize ./my-llama out.gguf q4_k_m --imatrix imatrix.gguf\n"
    "nibble quantize ./my-llama out.gguf q4_k_m --dry-run",
    setup};

}  // namespace nibble::cli
