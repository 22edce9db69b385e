#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/pool.h"
#include "base/progress.h"

namespace CLI {
class App;
}

namespace nibble::cli {

/// What every verb understands.
struct Common {
  bool json = false;
  bool quiet = false;
  int threads = 0;  ///< 0: one per processor

  Progress::Style progress_style() const {
    return quiet || json ? Progress::Style::silent : Progress::Style::automatic;
  }
};

/// Does the work once the command line has been read.
using Run = std::function<void(const Common&)>;

/// One verb: a file src/cli/NAME.cpp that defines `const Verb NAME_verb` and a line in verbs.inc.
struct Verb {
  std::string_view name;
  std::string_view summary;   ///< one line
  std::string_view examples;  ///< shown below --help, one command a line
  Run (*setup)(CLI::App& app);
};

/// Runs the program; returns the exit code: 0, 2 usage, 3 bad input, 4 unsupported, 130 interrupted, 1 a bug.
int main(int argc, const char* const* argv);

}  // namespace nibble::cli
