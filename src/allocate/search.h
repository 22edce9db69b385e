#pragma once

#include <optional>
#include <string>
#include <vector>

#include "allocate/candidates.h"

namespace nibble {

/// What a file may cost, or has to keep. Exactly one is set.
struct Goal {
  std::optional<uint64_t> size;  ///< bytes of the whole file
  std::optional<double> bits;    ///< per weight, over all tensors
  std::optional<double> kld;     ///< mean KL divergence in nats per token
};

/// A file that was measured.
struct Measured {
  std::string name;
  std::vector<size_t> formats;  ///< of Candidates::tensors()
  uint64_t bytes = 0;           ///< of the whole file
  Estimate kld;
};

struct SearchOptions {
  int64_t probe_sequences = 8;    ///< for the sensitivity of each tensor
  int64_t verify_sequences = 32;  ///< for whole files
};

struct SearchResult {
  Measured best;
  double predicted = 0;           ///< divergence of `best` as the sum of its tensors' own
  std::vector<Measured> uniform;  ///< every candidate format alone
  std::vector<std::pair<uint64_t, double>>
      curve;                       ///< bytes and predicted divergence, corrected by what was measured
  bool uniform_is_better = false;  ///< then `best` is the best uniform file
};

/// Searches the formats of all tensors (docs/allocation.md). The sensitivity of a tensor is measured: the
/// divergence of the model when it alone is rounded, in one format; in the others it goes with the tensor's
/// output error. The choice is measured as a whole, beside every uniform file that meets the goal, and is
/// never worse. What was measured is kept in `journal`, from which a killed search goes on. Throws
/// Error{usage} for a goal that no choice can meet.
SearchResult search_formats(Candidates& candidates, const Checkpoint& source, const Goal& goal,
                            const CalibrationText& text, const SearchOptions& options,
                            const std::string& journal, ThreadPool& pool, Progress& progress);

}  // namespace nibble
