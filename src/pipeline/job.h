#pragma once

#include <map>
#include <string>

#include "base/pool.h"
#include "base/progress.h"
#include "pipeline/planner.h"

namespace nibble {

struct JobOptions {
  std::string output;              ///< a .gguf file or a folder
  bool fresh = false;              ///< do not resume an earlier try
  uint64_t shard_size = 0;         ///< of a folder's weight files, as in plan_safetensors
  std::string title = "quantize";  ///< what the progress says is being done
  /// Puts the source's content hash where the plan's metadata has text_to_come.
  bool hash_source = false;
};

struct JobResult {
  double seconds = 0;
  size_t resumed = 0;                        ///< tensors an earlier try had finished
  std::string path;                          ///< what to open
  std::map<std::string, std::string> notes;  ///< by tensor: what had to be done to its statistics
};

/// Throws Error{io} if the disk cannot hold the output, beyond what an earlier try left there. run_job does
/// so too: this is for work that comes before it.
void require_room(const QuantizationPlan& plan, const JobOptions& options, int threads);

/// Rounds every tensor, part after part of the model and window by window on all threads and writes it where
/// it belongs. The output stands under its name only when it is complete; until then it is NAME.partial with
/// a journal, from which the same command goes on after it was killed. The bytes do not depend on the number
/// of threads or on interruptions. Throws Error{bad_input} naming a tensor with NaN, infinity or a value
/// beyond f16's range (nothing is left behind then: the same command can only fail again), Error{interrupted}
/// on Ctrl-C (what is done stays for resuming), Error{io}.
JobResult run_job(const QuantizationPlan& plan, const JobOptions& options, ThreadPool& pool,
                  Progress& progress);

}  // namespace nibble
