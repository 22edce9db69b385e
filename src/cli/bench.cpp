#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/interrupt.h"
#include "cli/activations.h"
#include "cli/kv_option.h"
#include "cli/verb.h"
#include "kernels/isa.h"
#include "kernels/measure.h"
#include "model/executor.h"
#include "model/load.h"

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, peer, kv = "f16";
  bool exact = false;
  int64_t prompt = 512, tokens = 32, depth = 0, together = 1;
  int repeat = 3;
  ActivationOptions activations;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t half = v.size() / 2;
  return v.size() % 2 == 1 ? v[half] : 0.5 * (v[half - 1] + v[half]);
}

/// What one token costs: bytes of weights read, multiply-adds.
struct Cost {
  double bytes = 0, products = 0;
};

Cost cost_of(const Program& program, const Hparams& h) {
  Cost c;
  const bool own_output = std::any_of(program.weights.begin(), program.weights.end(),
                                      [](const auto& w) { return w->name == "output.weight"; });
  for (const auto& w : program.weights) {
    if (!w->matrix) continue;
    // Of tables one row is read, of the experts those that were chosen.
    const bool table =
        w->name == "token_embd.weight" ? own_output : w->name.find("_embd") != std::string::npos;
    if (table || w->name == "token_types.weight") continue;
    const bool expert = w->name.find("_exps.") != std::string::npos && h.experts > 0;
    const double share = expert ? static_cast<double>(h.experts_used) / static_cast<double>(h.experts) : 1.0;
    c.bytes += share * static_cast<double>(w->matrix->tensor().bytes());
    c.products += share * static_cast<double>(w->shape.elements());
  }
  return c;
}

/// One thing that is timed: tokens a second, ours and the peer's in turns.
struct Series {
  std::string name;
  double cost = 0;  ///< of a token, in what bounds it: bytes, or operations of the matrix unit
  const std::vector<double>* bound = nullptr;  ///< how much of it the machine does in a second, once a round
  std::string bound_by;
  std::vector<double> ours, peers;

  /// Of what the machine allows.
  double fraction() const { return median(ours) * cost / median(*bound); }
  Json json() const {
    Json j{{"name", name}, {"tokens_per_second", median(ours)}, {"runs", ours}};
    j["bound"] = {{"tokens_per_second", median(*bound) / cost}, {"by", bound_by}, {"fraction", fraction()}};
    if (!peers.empty()) {
      j["peer"] = {
          {"tokens_per_second", median(peers)}, {"runs", peers}, {"ratio", median(ours) / median(peers)}};
    }
    return j;
  }
};

std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Tokens a second by a llama-bench.
double peer_rate(const Options& o, int threads, int64_t prompt, int64_t tokens) {
  std::string command = fmt::format("{} -m {} -t {} -p {} -n {} -r 1 -o json", shell_word(o.peer),
                                    shell_word(o.model), threads, prompt, tokens);
  if (o.depth > 0) command += fmt::format(" -d {}", o.depth);
  const KvStorages kv = KvStorages::parse(o.kv);
  command += fmt::format(" -ctk {} -ctv {}", kv.k.format->word, kv.v.format->word);
  FILE* pipe =
      popen((command + " 2>/dev/null").c_str(), "r");  // NOLINT(cert-env33-c): the user named the program
  if (pipe == nullptr) fail(ErrorKind::io, "cannot start {}", o.peer);
  std::string text;
  char part[4096];
  while (const size_t n = std::fread(part, 1, sizeof part, pipe)) text.append(part, n);
  const int status = pclose(pipe);
  check_interrupt();
  const Json j = Json::parse(text, nullptr, false);
  if (status != 0 || !j.is_array() || j.empty() || !j[0].contains("avg_ts") || !j[0]["avg_ts"].is_number()) {
    throw Error(ErrorKind::bad_input, fmt::format("{} gave no speed (exit status {})", o.peer, status),
                "run it yourself to see why: " + command);
  }
  return j[0]["avg_ts"].get<double>();
}

/// Times a model.
class Bench {
 public:
  Bench(const Options& o, const Program& program, ThreadPool& pool)
      : o_(o), program_(program), executor_(program, pool) {}

  double prefill() {
    KvCache cache = filled();
    const std::vector<int32_t> prompt = tokens(o_.prompt);
    const auto start = Clock::now();
    executor_.run(prompt, cache, Want::last);
    return static_cast<double>(o_.prompt) / seconds_since(start);
  }

  double encode() {
    const std::vector<int32_t> prompt = tokens(o_.prompt);
    executor_.encode(prompt);  // makes room for the values
    const auto start = Clock::now();
    executor_.encode(prompt);
    return static_cast<double>(o_.prompt) / seconds_since(start);
  }

  double decode() {
    std::vector<KvCache> caches;
    for (int64_t s = 0; s < o_.together; ++s) caches.push_back(filled());
    const std::vector<int32_t> ids = tokens(o_.tokens + 1);
    const auto step = [&](size_t i) {
      std::vector<Executor::Part> parts;
      parts.reserve(caches.size());
      for (KvCache& cache : caches) parts.push_back({{&ids[i], 1}, &cache, Want::last});
      executor_.run(parts);
    };
    step(0);
    const auto start = Clock::now();
    for (size_t i = 1; i < ids.size(); ++i) step(i);
    return static_cast<double>(o_.tokens * o_.together) / seconds_since(start);
  }

 private:
  KvCache filled() {
    KvCache cache = program_.cache(o_.depth + std::max(o_.prompt, o_.tokens + 1), o_.kv);
    // Zeros take as long to attend to as anything else.
    cache.reserve(o_.depth);
    cache.advance(o_.depth);
    return cache;
  }
  std::vector<int32_t> tokens(int64_t n) const {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int32_t>((i * 7919 + 1) % static_cast<size_t>(program_.vocab));
    return ids;
  }

  const Options& o_;
  const Program& program_;
  Executor executor_;
};

void bench(Options o, const Common& common) {
  ThreadPool pool(common.threads);
  const auto start = Clock::now();
  const Checkpoint checkpoint = open_checkpoint(o.model);
  const std::optional<ActivationPlan> plan = o.activations.plan_for(checkpoint);
  const Program program = load_program(
      checkpoint, pool,
      {.precision = o.exact ? Precision::exact : Precision::fast, .activations = plan ? &*plan : nullptr});
  if (program.encoder) {
    if (!o.peer.empty() || o.depth > 0 || o.prompt <= 0)
      fail(ErrorKind::usage, "{} is an encoder: all there is to time is -p tokens read at once", o.model);
    o.tokens = 0;
    if (program.context > 0) o.prompt = std::min(o.prompt, program.context);
  }
  if (program.positions > 0 && o.depth + std::max(o.prompt, o.tokens + 1) > program.positions)
    fail(ErrorKind::usage, "{} tokens are more than the {} positions the model has learned",
         o.depth + std::max(o.prompt, o.tokens + 1), program.positions);
  if (o.together > 1 && !o.peer.empty())
    throw Error(ErrorKind::usage, "the peer decodes one sequence only", "leave --together or --peer out");
  Bench run(o, program, pool);
  if (program.arrangement)
    program.arrangement->finish(pool);  // else the second pass does, which may be timed
  const double load = seconds_since(start);

  // What others on the machine leave of it changes: measured in every round.
  std::vector<double> bandwidth, peak;
  std::string_view peak_unit;
  const Cost cost = cost_of(program, checkpoint.hparams());
  const double kv_row = program.cache(1, o.kv).bytes_per_token();
  const auto depth = static_cast<double>(o.depth);
  // Scores and sums of attention: two products of the query's width for every position seen.
  const Hparams& h = checkpoint.hparams();
  const double seen = depth + 0.5 * static_cast<double>(o.prompt);
  const double attention = 2.0 * seen * static_cast<double>(h.layers * h.heads * h.head_dim);

  std::vector<Series> all;
  if (o.prompt > 0)
    all.push_back({fmt::format("{} {}", program.encoder ? "encode" : "prefill", o.prompt),
                   2 * (cost.products + attention),
                   &peak,
                   "matrix peak",
                   {},
                   {}});
  if (o.tokens > 0) {
    all.push_back({o.together > 1 ? fmt::format("decode {} x {}", o.together, o.tokens)
                                  : fmt::format("decode {}", o.tokens),
                   cost.bytes / static_cast<double>(o.together) +
                       kv_row * (depth + 0.5 * static_cast<double>(o.tokens)),
                   &bandwidth,
                   "read bandwidth",
                   {},
                   {}});
  }
  for (int i = 0; i < o.repeat; ++i) {
    size_t s = 0;
    bandwidth.push_back(read_bandwidth(pool));
    const MatrixPeak unit = matrix_peak(pool);
    peak.push_back(unit.flops);
    peak_unit = unit.unit;
    if (o.prompt > 0) {
      all[s].ours.push_back(program.encoder ? run.encode() : run.prefill());
      if (!o.peer.empty()) all[s].peers.push_back(peer_rate(o, pool.threads(), o.prompt, 0));
      ++s;
    }
    if (o.tokens > 0) {
      all[s].ours.push_back(run.decode());
      if (!o.peer.empty()) all[s].peers.push_back(peer_rate(o, pool.threads(), 0, o.tokens));
    }
  }

  if (common.json) {
    Json j{{"model", o.model},
           {"level", isa_name(isa_level())},
           {"threads", pool.threads()},
           {"depth", o.depth},
           {"together", o.together},
           {"kv", o.kv},
           {"kv_bytes_per_token", kv_row},
           {"activations", plan ? plan->scheme.to_string() : "float"},
           {"load_seconds", load},
           {"read_bytes_per_second", median(bandwidth)},
           {"peak_flops", median(peak)},
           {"peak_unit", peak_unit},
           {"bytes_per_token", cost.bytes},
           {"products_per_token", cost.products}};
    for (const Series& s : all) j["results"].push_back(s.json());
    fmt::print("{}\n", j.dump(2));
    return;
  }
  fmt::print("{}: {} level, {} threads; read {:.1f} GB/s; {} {:.2f} TFLOP/s; loaded in {}\n", o.model,
             isa_name(isa_level()), pool.threads(), median(bandwidth) / 1e9, peak_unit, median(peak) / 1e12,
             human_seconds(load));
  for (const Series& s : all) {
    fmt::print("{:<14} {:>9.2f} tokens/s  {:>5.2f} of the {}", s.name, median(s.ours), s.fraction(),
               s.bound_by);
    if (!s.peers.empty())
      fmt::print("  peer {:>8.2f}  ratio {:.2f}", median(s.peers), median(s.ours) / median(s.peers));
    fmt::print("\n");
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "Hugging Face folder or GGUF file")->required();
  app.add_option("-p,--prompt", o->prompt, "tokens read at once; 0: not timed")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-n,--tokens", o->tokens, "tokens decoded one by one; 0: not timed")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-d,--depth", o->depth, "tokens that stand in the context before")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  app.add_option("--together", o->together, "sequences that decode at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("-r,--repeat", o->repeat, "runs of each; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_kv_option(app, o->kv);
  app.add_flag("--exact", o->exact,
               "products of f32 numbers, the same bits on every machine (default: the fastest kernels)");
  app.add_option("--peer", o->peer, "a llama-bench to run on the same file, in turns with nibble");
  o->activations.add_to(app);
  return [o](const Common& common) { bench(*o, common); };
}

}  // namespace

extern const Verb bench_verb;
const Verb bench_verb{"bench", "time a model, as fractions of what the machine can do",
                      "nibble bench out.gguf\n"
                      "nibble bench out.gguf -p 512 -n 32 --peer ~/llama.cpp/build/bin/llama-bench\n"
                      "nibble bench out.gguf -p 0 -n 16 --depth 4096 --kv q8_0 --json\n"
                      "nibble bench out.gguf -p 0 --together 8",
                      setup};

}  // namespace nibble::cli
