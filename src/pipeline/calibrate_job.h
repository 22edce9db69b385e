#pragma once

#include <string>

#include "base/progress.h"
#include "calibrate/stats_folder.h"
#include "calibrate/text.h"

namespace nibble {

struct CalibrateOptions {
  std::string output;         ///< imatrix (.gguf, .dat), or a folder for all statistics
  bool hessian = true;        ///< in a folder
  bool histogram = false;     ///< of the values, in a folder: for static ranges
  bool output_matrix = true;  ///< also what the output matrix reads
};

/// Collects statistics of a model on a text, layer by layer; a killed job goes on after the last finished
/// layer. Throws as LayerWalk and StatsFolder do; what can only fail again leaves nothing behind.
void run_calibration(const Checkpoint& model, const CalibrationText& text, const CalibrateOptions& options,
                     ThreadPool& pool, Progress& progress);

/// Whether this output is an importance matrix.
bool is_imatrix_path(const std::string& path);

}  // namespace nibble
