#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "eval/divergence.h"
#include "eval/protocol.h"
#include "kernels/matmul.h"
#include "model/checkpoint.h"
#include "model/rewrites/activations.h"

namespace nibble::cli {

/// Divergences of models on one text, all scored in one pass with progress.
struct Scoring {
  std::vector<Divergence> results;  ///< one a model
  size_t windows = 0;
  uint64_t scored = 0;  ///< tokens
};

/// Scores models, beside `reference` where there is one (null: none). The text is cut with the reference's
/// tokenizer, or the first model's. `precision` and `activations` are those of the
/// models (null: what their files say); the reference is exact. Throws as evaluate and cut_windows.
Scoring score(const std::vector<Checkpoint>& models, const Checkpoint* reference, const std::string& text,
              const Protocol& protocol, const Common& common, Precision precision = Precision::exact,
              const ActivationPlan* activations = nullptr);

}  // namespace nibble::cli
