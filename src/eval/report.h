#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "eval/divergence.h"
#include "eval/protocol.h"

namespace nibble {

/// How far the hidden states of a model are from its original's behind each layer, over some sequences:
/// root of the summed squared differences over the summed squares. Both models run by themselves.
std::vector<double> layer_errors(const Checkpoint& model, const Checkpoint& original,
                                 std::span<const EvalWindow> windows, ThreadPool& pool);

/// What a report tells of.
struct ReportData {
  std::vector<TensorComparison> tensors;
  std::optional<Divergence> scores;   ///< beside the original, on the text
  std::string text, protocol;         ///< of the scores
  int64_t first = 0, per_window = 0;  ///< position of the first scored token, scored tokens of a window
  std::vector<double> layers;         ///< layer_errors
  std::vector<std::vector<std::string>> account;  ///< the job's ledger as table rows, head first; empty: none
  size_t drawn =
      4;  ///< tensors with histogram and heat map: those with the largest relative error of each format
};

/// One self-contained HTML page.
std::string report_html(const Checkpoint& model, const Checkpoint& original, const ReportData& data);

}  // namespace nibble
