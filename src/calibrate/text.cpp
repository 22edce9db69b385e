#include "calibrate/text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "model/generate.h"
#include "model/load.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/utf8.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(ErrorKind::io, "cannot open {}: {}", path.string(), std::strerror(errno));
  std::ostringstream all;
  all << in.rdbuf();
  if (in.bad()) fail(ErrorKind::io, "cannot read {}", path.string());
  return all.str();
}

/// The "text" of every line.
std::string text_of_jsonl(const std::string& lines, const std::string& file) {
  std::istringstream in(lines);
  std::string text;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("text") || !json["text"].is_string()) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("{} line {}: expected an object with a \"text\"", file, number),
                  "JSONL for calibration has one {\"text\": \"...\"} a line");
    }
    text += json["text"].get<std::string>() + "\n\n";
  }
  return text;
}

std::string text_of_file(const fs::path& path) {
  std::string text = read_file(path);
  if (!utf8::valid(text)) {
    throw Error(ErrorKind::bad_input, fmt::format("{} is no UTF-8 text", path.string()),
                "convert it with iconv -t UTF-8, or leave it out of the folder");
  }
  if (path.extension() == ".jsonl") text = text_of_jsonl(text, path.string());
  return text;
}

std::string read_source(const std::string& source) {
  if (!fs::is_directory(source)) return text_of_file(source);
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(source)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) text += text_of_file(file) + "\n\n";
  return text;
}

std::vector<Sequence> cut(std::span<const int32_t> tokens, const Tokenizer& tokenizer, int64_t length) {
  std::vector<Sequence> all;
  const auto n = static_cast<size_t>(length);
  for (size_t at = 0; at + n <= tokens.size(); at += n) {
    all.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(at),
                     tokens.begin() + static_cast<std::ptrdiff_t>(at + n));
    if (tokenizer.add_bos()) all.back().front() = tokenizer.bos();
  }
  return all;
}

/// `count` of them, in their order: the first, or drawn by a seed.
std::vector<Sequence> choose(std::vector<Sequence> all, int64_t count, uint64_t seed) {
  const auto n = static_cast<size_t>(count);
  if (count == 0 || n >= all.size()) return all;
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (seed != 0) {
    Rng rng(seed);
    for (size_t i = 0; i < n; ++i) std::swap(order[i], order[i + rng.below(order.size() - i)]);
  }
  order.resize(n);
  std::sort(order.begin(), order.end());
  std::vector<Sequence> chosen;
  chosen.reserve(n);
  for (const size_t i : order) chosen.push_back(std::move(all[i]));
  return chosen;
}

/// What the model writes when it is asked for nothing.
std::vector<Sequence> write(const Checkpoint& model, const Tokenizer& tokenizer,
                            const CalibrationChoice& choice, int64_t length, ThreadPool& pool,
                            const std::function<void()>& step) {
  const Program program = load_program(model, pool);
  const int64_t count = choice.samples > 0 ? choice.samples : 128;
  Rng rng(choice.seed);
  std::vector<Sequence> all;
  while (static_cast<int64_t>(all.size()) < count) {
    Generator generator(program, tokenizer, pool, length + 1);
    // Without a beginning-of-sequence token any token has to do for a start.
    Sequence s{tokenizer.bos() >= 0 ? tokenizer.bos()
                                    : static_cast<int32_t>(rng.below(static_cast<uint64_t>(program.vocab)))};
    GenerateOptions options;
    options.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = rng.next()};
    options.max_tokens = length - 1;
    options.ignore_end = true;
    const Generation g = generator.generate(s, options);
    s.insert(s.end(), g.tokens.begin(), g.tokens.end());
    check_interrupt();
    if (g.reason == StopReason::interrupted) fail(ErrorKind::interrupted, "interrupted");
    all.push_back(std::move(s));
    step();
  }
  return all;
}

}  // namespace

int64_t CalibrationText::tokens() const noexcept { return length * static_cast<int64_t>(sequences.size()); }

std::string CalibrationText::identity() const {
  return precision == Precision::exact ? hash : fmt::format("{} {}", hash, isa_identity());
}

int64_t calibration_length(const Checkpoint& model, const CalibrationChoice& choice) {
  const int64_t trained = model.hparams().context;
  const int64_t length = choice.length > 0 ? choice.length
                         : trained > 0     ? std::min<int64_t>(512, trained)
                                           : 512;
  if (length < 2 || (trained > 0 && length > trained)) {
    throw Error(ErrorKind::usage,
                fmt::format("sequences of {} tokens: the model reads up to {}", length, trained),
                "choose a --length from 2 to that");
  }
  return length;
}

CalibrationText calibration_text(const Checkpoint& model, const CalibrationChoice& choice, ThreadPool& pool,
                                 const std::function<void()>& step) {
  const Tokenizer tokenizer = model.tokenizer();
  CalibrationText t;
  t.source = choice.source;
  t.precision = choice.fast ? Precision::fast : Precision::exact;
  t.length = calibration_length(model, choice);
  if (choice.source.empty()) {
    t.sequences = write(model, tokenizer, choice, t.length, pool, step);
    t.description =
        fmt::format("{} sequences of {} tokens that the model wrote itself", t.sequences.size(), t.length);
  } else {
    const std::string text = read_source(choice.source);
    const auto tokens = tokenizer.encode(text, {.add_special = true});
    t.sequences = choose(cut(tokens, tokenizer, t.length), choice.samples, choice.seed);
    if (t.sequences.empty()) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("{} has {} tokens, fewer than one sequence of {}", choice.source, tokens.size(),
                              t.length),
                  "calibrate on a longer text, or on shorter sequences with --length");
    }
    t.description =
        fmt::format("{} sequences of {} tokens of {}", t.sequences.size(), t.length, choice.source);
  }
  if (choice.fast) t.description += ", fast products";
  Hasher hasher;
  for (const Sequence& s : t.sequences) {
    for (const int32_t id : s) {
      if (id >= 0 && id < model.hparams().vocab) continue;
      throw Error(ErrorKind::bad_input,
                  fmt::format("the tokenizer gives token {}, and the model's vocabulary ends at {}", id,
                              model.hparams().vocab),
                  "the tokenizer beside the model is not its own");
    }
    hasher.update(std::as_bytes(std::span(s)));
  }
  t.hash = hasher.hex();
  return t;
}

}  // namespace nibble
