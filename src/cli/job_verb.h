#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/verb.h"
#include "pipeline/job.h"

// What quantize and convert have in common: both plan a job, say what it will need, run it and tell how it
// ended.

namespace nibble::cli {

/// Options of every verb that runs a job.
struct JobWords {
  std::string shard_size, ledger;
  bool drop_unknown = false, dry_run = false, fresh = false;

  void add_to(CLI::App& app);
};

/// Opens a source for a job that writes `output`. Throws as open_checkpoint, refuse_own_source and
/// refuse_unknown do.
Checkpoint open_source(const std::string& input, const std::string& output, const JobWords& words);

/// Preflight, ledger, the job itself (or with --dry-run the account of every tensor) and the report, in words
/// or as JSON. What `words` are about is not read from `options`. Throws as run_job does, and Error{usage}
/// for a size that is none.
void run_planned(const QuantizationPlan& plan, JobOptions options, const JobWords& words,
                 const Common& common, ThreadPool& pool);

}  // namespace nibble::cli
