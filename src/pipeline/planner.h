#pragma once

#include <string>

#include "methods/solver.h"
#include "model/export.h"
#include "pipeline/ledger.h"
#include "pipeline/recipe.h"
#include "pipeline/stats_source.h"

namespace nibble {

/// A job decided to the last tensor, before any weight is read.
struct QuantizationPlan {
  ExportPlan file;       ///< the output: names, shapes, formats, metadata
  Ledger ledger;         ///< line i belongs to file.tensors[i]; dropped source tensors follow
  const Solver* solver;  ///< rounds every tensor that is not copied
  Recipe recipe;
  std::shared_ptr<StatsSource> stats;  ///< null: none
};

/// Decides every tensor's format. Throws Error{usage} for words that mean nothing, a format the target cannot
/// hold, a pattern that matches nothing; Error{unsupported} naming every tensor whose shape its format cannot
/// hold, with choices, unless the recipe allows substitution, for activations that the output's runtime could
/// not round (check_activations), and for a solver that needs statistics which
/// `stats` (may be null) does not give. The source is what recipe_source makes of it, and so are the
/// statistics.
QuantizationPlan plan_quantization(const Checkpoint& source, Target target, const Recipe& recipe,
                                   std::shared_ptr<StatsSource> stats = nullptr);

/// A job that changes the container or the float type and rounds nothing further: every tensor becomes
/// `type`, or (null) stays in its float type, f32 where it is quantized. Throws as plan_export does.
QuantizationPlan plan_conversion(const Checkpoint& source, Target target, const Format* type);

/// Writes a text into the output's metadata, in place of what stands there under that key.
void record(ExportPlan& file, const std::string& key, const std::string& text);

/// What the machine must have for a plan.
struct Preflight {
  uint64_t weights = 0;
  uint64_t bytes_in = 0, bytes_out = 0;  ///< tensor bytes
  double bits_per_weight = 0;
  uint64_t memory = 0;     ///< bound on resident memory beyond mapped file pages
  uint64_t disk_free = 0;  ///< where the output will stand
};

/// `threads` workers, each with a window. Looks at the disk that holds `output`.
Preflight preflight(const QuantizationPlan& plan, const std::string& output, int threads);
/// Throws Error{io} if the disk cannot hold the output; `already` bytes of it are there from an earlier try.
void require_disk(const Preflight& p, const std::string& output, uint64_t already);

}  // namespace nibble
