#include "cli/format_search.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <sstream>

#include "allocate/curve.h"
#include "base/error.h"
#include "base/hash.h"
#include "cli/output_path.h"
#include "pipeline/calibrate_job.h"

namespace nibble::cli {
namespace {

constexpr const char* gguf_formats = "q2_k,q3_k,iq4_xs,q4_k,q5_k,q6_k,q8_0";
constexpr const char* folder_formats =
    "int2:g64:asym,int3:g128:asym,int4:g128:asym,int5:g128,int6:g128,int8:g128";

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> all;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    if (!word.empty()) all.push_back(format_of(word).spec().to_string());
  }
  return all;
}

}  // namespace

uint64_t bytes_of_word(const std::string& word, const std::string& option) {
  std::string number = word;
  uint64_t unit = 1;
  for (const auto& [letter, size] :
       {std::pair{'K', 1'000ULL}, {'M', 1'000'000ULL}, {'G', 1'000'000'000ULL}}) {
    if (!word.empty() && word.back() == letter) unit = size;
  }
  if (unit != 1) number.pop_back();
  size_t end = 0;
  const bool digits =
      !number.empty() && number.size() < 18 && std::isdigit(static_cast<unsigned char>(number[0])) != 0;
  const double n = digits ? std::stod(number, &end) * static_cast<double>(unit) : -1;
  if (n < 1 || end != number.size() || n > 1e15)
    throw Error(ErrorKind::usage, fmt::format("{} {}: expected a size such as 500M or 5G", option, word), "");
  return static_cast<uint64_t>(n);
}

void SearchWords::add_to(CLI::App& app) {
  app.add_option("--target-size", size, "choose formats so that the file is at most this large (3.5G, 500M)");
  app.add_option("--target-bpw", bits, "choose formats for at most this many bits per weight")
      ->check(CLI::Range(0.5, 32.0));
  app.add_option("--max-kld", kld,
                 "choose formats for at most this divergence from the original, in the smallest file")
      ->check(CLI::Range(1e-9, 100.0));
  app.add_option("--formats", formats, "what to choose from, with commas");
  app.add_option("--probe", options.probe_sequences,
                 "sequences that the sensitivity of a tensor is measured on")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--verify", options.verify_sequences, "sequences that whole files are measured on")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--curve", curve, "write the curve of size against divergence to this SVG file");
}

Goal SearchWords::goal() const {
  if ((size.empty() ? 0 : 1) + (bits > 0 ? 1 : 0) + (kld > 0 ? 1 : 0) != 1)
    throw Error(ErrorKind::usage, "--target-size, --target-bpw and --max-kld are goals of their own",
                "give one of them");
  Goal g;
  if (!size.empty()) g.size = bytes_of_word(size, "--target-size");
  if (bits > 0) g.bits = bits;
  if (kld > 0) g.kld = kld;
  return g;
}

FoundRecipe search_recipe(const Checkpoint& source, Target target, const Recipe& base,
                          const SearchWords& words, const CalibrationWords& calibration,
                          const std::string& output, const Common& common, ThreadPool& pool) {
  const Goal goal = words.goal();
  const std::string work = output + ".search.partial";
  Progress progress(common.progress_style());
  const CalibrationText text = calibration.text(source, common, pool);
  std::filesystem::create_directories(work);
  run_calibration(source, text, {work + "/statistics"}, pool, progress);
  auto stats = folder_stats(work + "/statistics", source);
  const std::string usual = target == Target::gguf ? gguf_formats : folder_formats;
  // What was made and measured with other options of the solver, or on another text, is of no use.
  const std::string asked = base.to_string() + "\n" + stats->identity();
  const std::string made = work + "/" + hash_hex(std::as_bytes(std::span(asked)));
  std::filesystem::create_directories(made);
  Candidates candidates(source, target, base, split(words.formats.empty() ? usual : words.formats), stats,
                        made + "/" + std::filesystem::path(output).stem().string(), pool);
  candidates.make(progress);
  const SearchResult found =
      search_formats(candidates, source, goal, text, words.options, made + "/measured", pool, progress);
  if (!common.quiet && !common.json) {
    fmt::print(stderr, "{}", curve_text(found));
    if (found.uniform_is_better)
      fmt::print(stderr, "no mixture was better than {} alone\n", found.best.name);
    else
      fmt::print(stderr, "predicted {:.6f}, measured {:.6f}\n", found.predicted, found.best.kld.value);
  }
  if (!words.curve.empty()) write_text(words.curve, curve_svg(found));
  return {candidates.recipe(found.best.formats), stats, work};
}

}  // namespace nibble::cli
