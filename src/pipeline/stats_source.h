#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/pool.h"
#include "calibrate/input_stats.h"
#include "calibrate/text.h"
#include "methods/solver.h"
#include "model/checkpoint.h"

namespace nibble {

/// What is known of the input of a matrix.
struct KnownInput {
  const void* input = nullptr;  ///< the same for all matrices that share these statistics
  Stats stats;                  ///< views, valid until the next enter()
  int64_t tokens = 0;           ///< seen
  std::string note;             ///< what had to be done about missing data; for the ledger
};

/// Part of a model that a tensor belongs to: -1 what stands before the layers, the layer, or their number
/// for what stands after them. A tied embedding belongs to the head: that is where it multiplies.
int64_t part_of(const CanonicalTensor& t, const Hparams& hparams) noexcept;

/// Where a job takes its statistics from. Not safe from several threads.
class StatsSource {
 public:
  virtual ~StatsSource() = default;
  virtual Needs gives() const noexcept = 0;
  /// One line that says what the statistics are of: the outcome of the job must depend on nothing else.
  virtual std::string identity() const = 0;
  /// How they are collected, and so how a solver may compute: fast ones depend on the machine.
  virtual Precision precision() const noexcept { return Precision::exact; }
  /// For people.
  virtual std::string description() const = 0;
  /// Makes the statistics of a part ready. Parts come in ascending order; parts that need none are left out.
  /// `step` is called steps() times in all, at most.
  virtual void enter(int64_t part, const std::function<void()>& step) = 0;
  virtual uint64_t steps() const noexcept { return 0; }
  /// Statistics of a matrix (of an expert, where it is a stack) of the part at hand. Nothing where none were
  /// collected. Throws Error{bad_input} where they do not fit the matrix.
  virtual std::optional<KnownInput> find(const CanonicalTensor& t, int64_t expert) = 0;
  /// All that is known of the input of a matrix of the part at hand; null where nothing was collected.
  virtual const InputStats* seen(const CanonicalTensor&) { return nullptr; }
  /// Whether parts may be entered again from the first one on.
  virtual bool rereads() const noexcept { return false; }
  /// The job is complete: working files go away.
  virtual void finish() {}
  /// Disk and memory (beyond mapped files) that it takes.
  virtual uint64_t disk() const noexcept { return 0; }
  virtual uint64_t memory() const noexcept { return 0; }
};

/// Importance from an imatrix file. Throws Error{bad_input, io}.
std::shared_ptr<StatsSource> imatrix_stats(const std::string& path);

/// Statistics from a folder that nibble calibrate made. Throws Error{bad_input, io}, also where the model has
/// more layers than the folder tells of.
std::shared_ptr<StatsSource> folder_stats(const std::string& path, const Checkpoint& model);

/// Statistics collected on a text, layer by layer as the job goes on. `scratch` is the file of the hidden
/// states, from which a killed job goes on. The checkpoint and the pool must outlive it.
std::shared_ptr<StatsSource> walk_stats(const Checkpoint& model, CalibrationText text, Needs needs,
                                        std::string scratch, ThreadPool& pool);

/// An expert that saw fewer tokens than this is given the statistics of all experts together.
constexpr int64_t fewest_expert_tokens = 64;

}  // namespace nibble
