#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "cli/verb.h"

namespace nibble::cli {
namespace {

std::string joined(const std::vector<std::string_view>& words) {
  std::string s;
  for (const std::string_view w : words) s += (s.empty() ? "" : ", ") + std::string(w);
  return s;
}

void list(const Common& common) {
  nlohmann::json rows = nlohmann::json::array();
  if (!common.json) fmt::print("{:<11} {:<9} {:<8} {}\n", "name", "gguf", "kind", "Hugging Face classes");
  for (const Arch* a : archs()) {
    if (common.json) {
      rows.push_back(
          {{"name", a->name}, {"gguf", a->gguf}, {"encoder", a->encoder}, {"hf_classes", a->hf_classes}});
    } else {
      fmt::print("{:<11} {:<9} {:<8} {}\n", a->name, a->gguf.empty() ? "-" : a->gguf,
                 a->encoder ? "encoder" : "decoder", joined(a->hf_classes));
    }
  }
  if (common.json) fmt::print("{}\n", rows.dump(2));
}

Run setup(CLI::App&) { return list; }

}  // namespace

extern const Verb archs_verb;
const Verb archs_verb{"archs", "list the architectures nibble reads", "nibble archs\nnibble archs --json",
                      setup};

}  // namespace nibble::cli
