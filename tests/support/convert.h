#pragma once

#include <string>

#include "pipeline/job.h"

namespace nibble::test {

/// What `nibble convert` does: `out` is a .gguf file or a folder, `type` null for the source's own.
inline void convert(const Checkpoint& source, const std::string& out, const Format* type = nullptr,
                    uint64_t shard_size = 0) {
  ThreadPool pool(2);
  Progress silent(Progress::Style::silent);
  const Target target = out.ends_with(".gguf") ? Target::gguf : Target::huggingface;
  run_job(plan_conversion(source, target, type), {out, false, shard_size}, pool, silent);
}

}  // namespace nibble::test
