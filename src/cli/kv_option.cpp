#include "cli/kv_option.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "ops/kv_layer.h"

namespace nibble::cli {

void add_kv_option(CLI::App& app, std::string& words) {
  std::string formats;
  for (const KvFormat* f : kv_formats()) formats += (formats.empty() ? "" : ", ") + std::string(f->word);
  app.add_option("--kv", words,
                 "how keys and values are kept: one of " + formats +
                     " for both, or k=q8_0,v=q4_0; q4_0 rotates heads before it rounds, q4_0:plain does not")
      ->check([](const std::string& text) {
        try {
          KvStorages::parse(text);
        } catch (const Error& e) {
          return std::string(e.what()) + (e.hint().empty() ? "" : ": " + std::string(e.hint()));
        }
        return std::string();
      })
      ->capture_default_str();
}

}  // namespace nibble::cli
