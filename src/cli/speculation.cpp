#include "cli/speculation.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/load.h"

namespace nibble::cli {
namespace {

double rate(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

void SpeculationOptions::add_to(CLI::App& app) {
  const char* group = "Speculation (the text is distributed as without)";
  app.add_option("--speculate", method, "guess several tokens ahead: lookup takes what the text said before")
      ->check(CLI::IsMember({"lookup"}))
      ->group(group);
  app.add_option("--draft", draft, "a smaller model of the same vocabulary that guesses")->group(group);
  app.add_option("--draft-tokens", tokens, "tokens guessed at once")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group(group);
}

Speculation::Speculation(const SpeculationOptions& options, const Generator& generator, ThreadPool& pool,
                         const GenerateOptions& generate)
    : generate_(generate) {
  if (!options.method.empty() && !options.draft.empty())
    throw Error(ErrorKind::usage, "there are two ways to guess, and only one at a time",
                "give --speculate or --draft");
  if (options.method == "lookup") drafter_ = lookup_drafter();
  if (!options.draft.empty()) {
    checkpoint_ = std::make_unique<Checkpoint>(open_checkpoint(options.draft));
    program_ = std::make_unique<Program>(load_program(*checkpoint_, pool, {.precision = Precision::fast}));
    if (program_->vocab != generator.program().vocab)
      throw Error(
          ErrorKind::bad_input,
          fmt::format("{} has a vocabulary of {} tokens, the model one of {}", options.draft, program_->vocab,
                      generator.program().vocab),
          "a draft model must have the same tokens, such as a smaller quantization of the same model");
    if (program_->positions > 0 && generator.context() > program_->positions)
      throw Error(ErrorKind::usage,
                  fmt::format("{} has learned {} positions only", options.draft, program_->positions),
                  fmt::format("--ctx {} makes the context short enough", program_->positions));
    drafter_ = model_drafter(*program_, pool, generator.context(), generator.cache().storages().to_string(),
                             generate.sampling.seed + 1);
  }
  generate_.drafter = drafter_.get();
  generate_.draft_tokens = options.tokens;
}

nlohmann::json Speculation::json(const Generation& g) const {
  return {{"proposed_tokens", g.proposed},
          {"accepted_tokens", g.accepted},
          {"acceptance_rate", rate(g.accepted, g.proposed)},
          {"steps", g.steps},
          {"tokens_per_step", rate(static_cast<int64_t>(g.tokens.size()) - 1, g.steps)}};
}

std::string Speculation::remark(const Generation& g) const {
  return fmt::format("[speculation: {} of {} guessed tokens accepted ({:.0f} %), {:.2f} tokens a step]",
                     g.accepted, g.proposed, 100 * rate(g.accepted, g.proposed),
                     rate(static_cast<int64_t>(g.tokens.size()) - 1, g.steps));
}

}  // namespace nibble::cli
