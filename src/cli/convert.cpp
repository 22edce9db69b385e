#include <CLI/CLI.hpp>

#include "cli/job_verb.h"
#include "cli/output_path.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string in, out;
  std::string type = "auto";
  JobWords job;
};

void convert(const Options& o, const Common& common) {
  const Format* type = o.type == "auto" ? nullptr : &format_of(o.type);
  const Checkpoint source = open_source(o.in, o.out, o.job);
  ThreadPool pool(common.threads);
  run_planned(plan_conversion(source, target_of(o.out), type), {.output = o.out, .title = "convert"}, o.job,
              common, pool);
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("input", o->in, "Hugging Face folder, safetensors file or GGUF file")->required();
  app.add_option("output", o->out, "NAME.gguf, or a folder for the Hugging Face layout")->required();
  app.add_option("--type", o->type,
                 "float type of the matrices; auto keeps the source's, f32 for quantized ones")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16"}))
      ->capture_default_str();
  o->job.add_to(app);
  return [o](const Common& common) { convert(*o, common); };
}

}  // namespace

extern const Verb convert_verb;
const Verb convert_verb{"convert", "change the container or the float type, without quantizing",
                        "nibble convert ./my-llama model-bf16.gguf\n"
                        "nibble convert model-q4_k_m.gguf ./my-llama --type bf16\n"
                        "nibble convert ./my-llama ./my-llama-f16 --type f16 --shard-size 5G",
                        setup};

}  // namespace nibble::cli
