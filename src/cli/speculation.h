#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/checkpoint.h"
#include "model/generate.h"

namespace CLI {
class App;
}

namespace nibble::cli {

/// `--speculate` and `--draft`.
struct SpeculationOptions {
  std::string method, draft;
  int64_t tokens = 4;

  void add_to(CLI::App& app);
  bool asked() const { return !method.empty() || !draft.empty(); }
};

/// Whoever guesses tokens ahead for a generator, if anybody shall. The generator and the pool must outlive
/// it.
class Speculation {
 public:
  /// Loads the draft model where one is named. Throws Error{usage} where both ways are asked for at once,
  /// Error{bad_input} for a draft model of another vocabulary.
  Speculation(const SpeculationOptions& options, const Generator& generator, ThreadPool& pool,
              const GenerateOptions& generate);

  bool active() const { return drafter_ != nullptr; }
  /// Those given, with the drafter.
  const GenerateOptions& options() const { return generate_; }

  nlohmann::json json(const Generation& g) const;
  /// "[speculation: ...]"
  std::string remark(const Generation& g) const;

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Drafter> drafter_;
  GenerateOptions generate_;
};

}  // namespace nibble::cli
