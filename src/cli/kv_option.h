#pragma once

#include <string>

namespace CLI {
class App;
}

namespace nibble::cli {

/// Adds `--kv`, which says how keys and values are kept (KvStorages::parse); what `words` says is the
/// default. Words that say nothing are errors of usage.
void add_kv_option(CLI::App& app, std::string& words);

}  // namespace nibble::cli
