#include <sys/statvfs.h>

#include <filesystem>

#include "base/progress.h"
#include "model/weight_change.h"
#include "pipeline/job.h"
#include "pipeline/planner.h"
#include "pipeline/solving.h"
#include "pipeline/task.h"

namespace nibble {

Preflight preflight(const QuantizationPlan& plan, const std::string& output, int threads) {
  Preflight p;
  p.weights = plan.ledger.weights();
  p.bytes_out = plan.ledger.bytes_out();
  p.bits_per_weight = plan.ledger.bits_per_weight();
  for (const LedgerLine& l : plan.ledger.lines) p.bytes_in += l.bytes_in;
  // Each worker holds its window as f32 and its rounded bytes (never more than the f32).
  uint64_t widest = 0;
  for (const ExportTensor& t : plan.file.tensors) {
    widest = std::max(widest, static_cast<uint64_t>(window_rows(*t.format, t.shape) * t.shape.cols()));
  }
  p.memory = widest * 8 * static_cast<uint64_t>(threads) + (uint64_t{64} << 20);
  if (const WeightChange* change = plan.file.checkpoint().change()) p.memory += change->memory();
  if (plan.stats) p.memory += plan.stats->memory() + solving_memory(plan);
  std::filesystem::path folder = std::filesystem::absolute(output).parent_path();
  while (!folder.empty() && folder.has_relative_path() && !std::filesystem::exists(folder))
    folder = folder.parent_path();
  struct statvfs info {};
  if (statvfs(folder.c_str(), &info) == 0) p.disk_free = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  return p;
}

void require_disk(const Preflight& p, const std::string& output, uint64_t already) {
  const uint64_t needed = p.bytes_out - std::min(p.bytes_out, already);
  if (needed <= p.disk_free) return;
  throw Error(
      ErrorKind::io,
      fmt::format("{} needs {} on disk, but only {} are free there", output,
                  human_bytes(static_cast<double>(needed)), human_bytes(static_cast<double>(p.disk_free))),
      "free some space, write to another disk, or choose a smaller type");
}

}  // namespace nibble
