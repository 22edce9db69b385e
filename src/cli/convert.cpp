#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/output_path.h"
#include "cli/verb.h"
#include "model/export.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string in, out;
  std::string type = "auto";
  std::string shard;
  bool drop_unknown = false;
};

// general.file_type says what most matrices are.
int file_type(const Checkpoint& source, const Format* type) {
  if (type != nullptr) return file_type_of(*type);
  for (const CanonicalTensor& t : source.tensors()) {
    if (t.role == Role::attn_output) return file_type_of(float_choice(nullptr)(t, t.name, t.shape));
  }
  return 0;
}

uint64_t bytes_of(std::string word) {
  if (word.empty()) return 0;
  uint64_t unit = 1;
  for (const auto& [letter, size] : {std::pair{'M', 1'000'000ULL}, {'G', 1'000'000'000ULL}}) {
    if (word.back() == letter) unit = size;
  }
  if (unit != 1) word.pop_back();
  size_t end = 0;
  const double n = std::isdigit(static_cast<unsigned char>(word.empty() ? 'x' : word[0])) != 0
                       ? std::stod(word, &end)
                       : -1;
  if (n <= 0 || end != word.size() || n * static_cast<double>(unit) > 1e15) {
    throw Error(ErrorKind::usage, fmt::format("--shard-size {}: expected a size such as 500M or 5G", word),
                "");
  }
  return static_cast<uint64_t>(n * static_cast<double>(unit));
}

void convert(const Options& o, const Common& common) {
  const Format* type = o.type == "auto" ? nullptr : &format_of(o.type);
  const uint64_t shard = bytes_of(o.shard);
  const Checkpoint source = open_checkpoint(o.in);
  refuse_own_source(source, o.out);
  refuse_unknown(source, o.drop_unknown);
  const Target target = target_of(o.out);
  const ExportPlan plan = plan_export(source, target, float_choice(type), file_type(source, type), type);
  const uint64_t total = plan_output(plan, o.out, shard).total_bytes();

  ThreadPool pool(common.threads);
  Progress progress(common.progress_style());
  progress.start(fmt::format("convert {}", o.in), total, "B");
  write_export(
      plan, o.out, pool, [&](uint64_t bytes, const ExportTensor& t) { progress.advance(bytes, t.name); },
      shard);
  progress.finish();

  if (common.json) {
    nlohmann::json j{{"output", o.out},
                     {"target", target == Target::gguf ? "gguf" : "huggingface"},
                     {"architecture", source.arch().name},
                     {"tensors", plan.tensors.size()},
                     {"bytes", total},
                     {"dropped", nlohmann::json::array()}};
    for (const UnclaimedTensor& u : plan.dropped)
      j["dropped"].push_back({{"tensor", u.name}, {"reason", u.reason}});
    fmt::print("{}\n", j.dump(2));
    return;
  }
  if (common.quiet) return;
  for (const UnclaimedTensor& u : plan.dropped) fmt::print("left out {}: {}\n", u.name, u.reason);
  fmt::print("{}: {} model, {} tensors, {}\n", o.out, source.arch().name, plan.tensors.size(),
             human_bytes(static_cast<double>(total)));
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("input", o->in, "Hugging Face folder, safetensors file or GGUF file")->required();
  app.add_option("output", o->out, "NAME.gguf, or a folder for the Hugging Face layout")->required();
  app.add_option("--type", o->type,
                 "float type of the matrices; auto keeps the source's, f32 for quantized ones")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_option("--shard-size", o->shard, "split a folder's weights into files of this size (500M, 5G)");
  app.add_flag("--drop-unknown", o->drop_unknown, "leave out tensors that the architecture does not know");
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
