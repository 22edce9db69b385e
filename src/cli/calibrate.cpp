#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/calibration.h"
#include "cli/verb.h"
#include "pipeline/calibrate_job.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model;
  CalibrateOptions job;
  bool no_hessian = false, no_output = false;
  CalibrationWords words;
};

void calibrate(const Options& o, const Common& common) {
  const Checkpoint model = open_checkpoint(o.model);
  ThreadPool pool(common.threads);
  const CalibrationText text = o.words.text(model, common, pool);
  CalibrateOptions job = o.job;
  job.hessian = !o.no_hessian;
  job.output_matrix = !o.no_output;
  Progress progress(common.progress_style());
  run_calibration(model, text, job, pool, progress);
  if (common.json) {
    const nlohmann::ordered_json j{{"output", job.output},
                                   {"sequences", text.sequences.size()},
                                   {"tokens", text.tokens()},
                                   {"hash", text.hash}};
    fmt::print("{}\n", j.dump());
  } else if (!common.quiet) {
    fmt::print(stderr, "{} is complete\n", job.output);
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "Hugging Face folder or GGUF file")->required();
  app.add_option("text", o->words.source,
                 "a text file, .jsonl (field \"text\") or a folder of them; none: the model writes its own");
  app.add_option(
         "--output,-o", o->job.output,
         "NAME.gguf or NAME.dat: importance matrix, as llama-imatrix writes it; else a folder for all "
         "statistics")
      ->required();
  app.add_flag("--no-hessian", o->no_hessian, "leave the Hessians out of the folder (they take most of it)");
  app.add_flag("--histogram", o->job.histogram,
               "also how often which values are seen: for static ranges by percentile, mse or entropy");
  app.add_flag("--no-output", o->no_output, "leave out what the output matrix reads, as llama-imatrix does");
  o->words.add_to(app);
  return [o](const Common& common) { calibrate(*o, common); };
}

}  // namespace

extern const Verb calibrate_verb;
const Verb calibrate_verb{
    "calibrate", "collect statistics of a model's activations on a text",
    "nibble calibrate ./my-llama wiki.txt -o imatrix.gguf\n"
    "nibble calibrate ./my-llama chats.jsonl -o my-llama-stats --samples 256 --length 1024\n"
    "nibble quantize ./my-llama out.gguf q4_k_m --solver gptq --stats my-llama-stats",
    setup};

}  // namespace nibble::cli
