#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/verb.h"
#include "formats/format.h"

namespace nibble::cli {
namespace {

// A shape most formats fit, to state bits per weight for.
const Shape sample{4096, 4096};

void list(const Common& common) {
  nlohmann::json rows = nlohmann::json::array();
  if (!common.json)
    fmt::print("{:<22} {:>7}  {:<5} {:<12} {}\n", "format", "bits/w", "gguf", "family", "what it is");
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const Format& f = format_of(word);
      const double bits =
          8.0 * static_cast<double>(format_bytes(f, sample)) / static_cast<double>(sample.elements());
      if (common.json) {
        rows.push_back({{"format", word},
                        {"bits_per_weight", bits},
                        {"family", f.info().family},
                        {"gguf_type", f.info().gguf_id},
                        {"can_encode", f.info().can_encode},
                        {"summary", f.info().summary}});
      } else {
        fmt::print("{:<22} {:>7.4g}  {:<5} {:<12} {}{}\n", word, bits,
                   f.info().gguf_id >= 0 ? std::to_string(f.info().gguf_id) : "-", f.info().family,
                   f.info().summary, f.info().can_encode ? "" : " (read only)");
      }
    }
  }
  if (common.json) {
    fmt::print("{}\n", rows.dump(2));
    return;
  }
  fmt::print("\nwords with options, and what stands where none is written:\n");
  for (const FormatFamily& family : format_families()) {
    if (!family.help.empty()) fmt::print("  {}\n", family.help);
  }
}

Run setup(CLI::App&) { return list; }

}  // namespace

extern const Verb formats_verb;
const Verb formats_verb{"formats", "list the formats weights can be rounded to",
                        "nibble formats\nnibble formats --json", setup};

}  // namespace nibble::cli
