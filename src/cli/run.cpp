#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/interrupt.h"
#include "cli/activations.h"
#include "cli/chat_loop.h"
#include "cli/kv_option.h"
#include "cli/run_batch.h"
#include "cli/speculation.h"
#include "cli/verb.h"
#include "model/embed.h"
#include "model/generate.h"
#include "model/load.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, tokenizer, prompt, prompt_file, embed, kv = "f16";
  int64_t context = 0;
  bool normalize = false, interactive = false;
  std::string system;
  GenerateOptions generate;
  ActivationOptions activations;
  SpeculationOptions speculation;
  std::string prompts;
  int64_t together = 8;
};

std::string read_file(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorKind::io, "cannot open {}", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string prompt_of(const Options& o) {
  if (!o.prompt_file.empty()) return read_file(o.prompt_file);
  if (o.prompt.empty())
    throw Error(ErrorKind::usage, "there is no prompt",
                "give one with -p TEXT, or a file with -f PATH (- reads standard input)");
  return o.prompt;
}

/// Ids of a prompt that is to be continued: no end of sequence after it.
std::vector<int32_t> prompt_ids(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = true, .parse_special = true});
  if (tokenizer.add_eos() && !ids.empty() && ids.back() == tokenizer.eos()) ids.pop_back();
  return ids;
}

void show(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void write_text(const Options& o, const Common& common, const Program& program, const Tokenizer& tokenizer,
                ThreadPool& pool) {
  const std::string prompt = prompt_of(o);
  Generator generator(program, tokenizer, pool, o.context, o.kv);
  const std::vector<int32_t> ids = prompt_ids(tokenizer, prompt);
  if (!common.json && !common.quiet) show(prompt);
  Speculation speculation(o.speculation, generator, pool, o.generate);
  const Generation g = generator.generate(ids, speculation.options(), [&](std::string_view piece) {
    if (!common.json) show(piece);
    return true;
  });
  if (common.json) {
    nlohmann::json out{{"prompt", prompt},
                       {"text", g.text},
                       {"tokens", g.tokens},
                       {"stopped_by", stop_reason_name(g.reason)},
                       {"prompt_tokens", g.prompt_tokens},
                       {"generated_tokens", g.tokens.size()},
                       {"context", generator.context()},
                       {"context_shifts", g.shifts},
                       {"kv", generator.cache().storages().to_string()},
                       {"kv_bytes_per_token", generator.cache().bytes_per_token()},
                       {"prefill_tokens_per_second", g.prefill_rate()},
                       {"decode_tokens_per_second", g.decode_rate()}};
    if (speculation.active()) out["speculation"] = speculation.json(g);
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    show("\n");
    if (!common.quiet) {
      fmt::print(stderr, "[prompt {} tokens, {:.0f}/s; generated {} tokens, {:.1f}/s; stopped by: {}]\n",
                 g.prompt_tokens, g.prefill_rate(), g.tokens.size(), g.decode_rate(),
                 stop_reason_name(g.reason));
      if (speculation.active()) fmt::print(stderr, "{}\n", speculation.remark(g));
    }
    if (g.reason == StopReason::context_full) {
      fmt::print(stderr,
                 "note: the context of {} tokens is full; --ctx makes it larger, --context-shift goes on\n",
                 generator.context());
    }
  }
  check_interrupt();
}

void write_vectors(const Options& o, const Common& common, const Program& program, const Tokenizer& tokenizer,
                   ThreadPool& pool) {
  if (!program.encoder)
    throw Error(ErrorKind::usage, "--embed needs an encoder", "this model predicts text: leave --embed out");
  const std::vector<int32_t> ids =
      tokenizer.encode(prompt_of(o), {.add_special = true, .parse_special = true});
  Executor executor(program, pool);
  const std::vector<float> v = embed(executor, ids, pooling_from_name(o.embed), o.normalize);
  const auto cols = static_cast<size_t>(executor.result_cols());
  nlohmann::json rows = nlohmann::json::array();
  for (size_t row = 0; row < v.size(); row += cols) {
    const std::vector<float> one(v.begin() + static_cast<ptrdiff_t>(row),
                                 v.begin() + static_cast<ptrdiff_t>(row + cols));
    if (common.json) {
      rows.push_back(one);
    } else {
      fmt::print("{:.7g}\n", fmt::join(one, " "));
    }
  }
  if (common.json) {
    fmt::print("{}\n", nlohmann::json{{"tokens", ids}, {"pooling", o.embed}, {"vectors", rows}}.dump());
  }
}

void talk(const Options& o, const Common& common, const Program& program, const Tokenizer& tokenizer,
          ThreadPool& pool) {
  if (common.json) throw Error(ErrorKind::usage, "a chat has no JSON output", "leave --json or -i out");
  Generator generator(program, tokenizer, pool, o.context, o.kv);
  const std::string first = o.prompt_file.empty() ? o.prompt : read_file(o.prompt_file);
  Speculation speculation(o.speculation, generator, pool, o.generate);
  chat(generator, tokenizer, speculation.options(), {o.system, first, common.quiet});
}

Run setup(CLI::App& app) {
  const auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "Hugging Face folder or GGUF file")->required();
  app.add_option("--prompt,-p", o->prompt, "text to continue");
  app.add_option("--file,-f", o->prompt_file, "file to continue; - reads standard input");
  app.add_option("--tokenizer", o->tokenizer, "tokenizer file or folder, where the model brings none");
  app.add_flag("--interactive,-i", o->interactive, "chat: read questions from standard input, line by line");
  app.add_option("--system", o->system, "how the model shall behave in a chat");
  o->generate.max_tokens = 256;
  app.add_option("-n,--tokens", o->generate.max_tokens, "most tokens to generate; -1: no limit")
      ->capture_default_str();
  app.add_option("--prompts", o->prompts,
                 "file with a prompt on every line: all are continued, several at once");
  app.add_option("--together", o->together, "prompts of --prompts that run at once")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--ctx", o->context, "tokens of context (default: what the model was trained for)");
  app.add_flag("--context-shift", o->generate.context_shift,
               "when the context is full, forget its older half and go on");
  add_kv_option(app, o->kv);
  o->speculation.add_to(app);

  SamplingOptions& s = o->generate.sampling;
  const char* group = "Sampling (applied in this order; temperature last)";
  app.add_option("--repeat-penalty", s.repeat_penalty, "divides the logits of recent tokens; 1: off")
      ->capture_default_str()
      ->group(group);
  app.add_option("--repeat-last", s.repeat_last, "tokens that count as recent; -1: all")
      ->capture_default_str()
      ->group(group);
  app.add_option("--top-k", s.top_k, "keep the k most likely tokens; 0: all")
      ->capture_default_str()
      ->group(group);
  app.add_option("--top-p", s.top_p, "keep the fewest tokens whose probabilities reach p; 1: all")
      ->capture_default_str()
      ->group(group);
  app.add_option("--min-p", s.min_p, "keep tokens this likely relative to the likeliest; 0: all")
      ->capture_default_str()
      ->group(group);
  app.add_option("--temp", s.temperature, "randomness; 0: always the likeliest token")
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", s.seed, "of the random numbers: the same seed gives the same text")
      ->capture_default_str()
      ->group(group);

  app.add_option("--stop", o->generate.stop, "text that ends the output; may be given again")
      ->take_all()
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", o->generate.ignore_end, "go on after an end-of-text token");
  app.add_option("--embed", o->embed,
                 "for encoders: print the text's vector: mean, cls, last, or none for every token's");
  app.add_flag("--normalize", o->normalize, "scale vectors to length 1");
  o->activations.add_to(app);
  return [o](const Common& common) {
    const Checkpoint checkpoint = open_checkpoint(o->model);
    ThreadPool pool(common.threads);
    const Tokenizer tokenizer = o->tokenizer.empty() ? checkpoint.tokenizer() : open_tokenizer(o->tokenizer);
    const std::optional<ActivationPlan> plan = o->activations.plan_for(checkpoint);
    const Program program = load_program(
        checkpoint, pool, {.precision = Precision::fast, .activations = plan ? &*plan : nullptr});
    if (!o->prompts.empty()) {
      if (o->interactive || !o->embed.empty() || o->speculation.asked())
        throw Error(ErrorKind::usage, "--prompts runs alone",
                    "leave -i, --embed, --speculate and --draft out");
      std::vector<std::vector<int32_t>> ids;
      const std::vector<std::string> lines = lines_of(read_file(o->prompts));
      ids.reserve(lines.size());
      for (const std::string& line : lines) ids.push_back(prompt_ids(tokenizer, line));
      run_batch({program,
                 tokenizer,
                 pool,
                 lines,
                 ids,
                 o->generate,
                 {.together = o->together, .context = o->context, .kv = o->kv}},
                common);
    } else if (o->interactive) {
      talk(*o, common, program, tokenizer, pool);
    } else if (o->embed.empty()) {
      write_text(*o, common, program, tokenizer, pool);
    } else {
      write_vectors(*o, common, program, tokenizer, pool);
    }
  };
}

}  // namespace

extern const Verb run_verb;
const Verb run_verb{"run", "continue a text, chat, or turn a text into a vector",
                    "nibble run out.gguf -p \"Once upon a time\" -n 100 --temp 0.8\n"
                    "nibble run out.gguf -i --system \"Answer in one sentence.\"\n"
                    "nibble run ./my-llama -f story.txt --seed 7 --stop \"The end\" --json\n"
                    "nibble run out.gguf -f code.txt --speculate lookup\n"
                    "nibble run big.gguf -p \"Once\" --draft small.gguf\n"
                    "nibble run out.gguf --prompts questions.txt --together 8 -n 64\n"
                    "nibble run ./bert -p \"a sentence\" --embed mean --normalize",
                    setup};

}  // namespace nibble::cli
