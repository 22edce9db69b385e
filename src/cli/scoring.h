#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "eval/divergence.h"
#include "eval/model_predictor.h"
#include "eval/protocol.h"
#include "model/checkpoint.h"

namespace nibble::cli {

/// Divergences of models on one text, all scored in one pass with progress.
struct Scoring {
  std::vector<Divergence> results;  ///< one a model
  size_t windows = 0;
  uint64_t scored = 0;  ///< tokens
};

/// Scores models, beside `reference` where there is one (null: none). The text is cut with the reference's
/// tokenizer, or the first model's. The models run as `how` says, the reference exactly. Throws as evaluate
/// and cut_windows.
Scoring score(const std::vector<Checkpoint>& models, const Checkpoint* reference, const std::string& text,
              const Protocol& protocol, const Common& common, const PredictorOptions& how = {});

}  // namespace nibble::cli
