#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "pipeline/planner.h"

namespace nibble {

/// How the tensors of a job are rounded: by which solver, with which statistics. What a solver makes of the
/// statistics of an input is made once for all matrices that read it. Not safe from several threads.
class Solving {
 public:
  struct How {
    const Solver* solver = nullptr;
    Stats stats;
    const Prepared* prepared = nullptr;
  };

  /// The plan and the pool must outlive it.
  Solving(const QuantizationPlan& plan, ThreadPool& pool) : plan_(plan), pool_(pool) {}

  /// Whether the tensor is rounded with statistics, so that enter() is needed first.
  bool wants_stats(const ExportTensor& t) const;
  /// Goes on to the next part; what of() gave for an earlier one is gone.
  void enter(int64_t part, const std::function<void()>& step);
  /// How to round rows of a tensor, of one expert where it is a stack. Throws Error{bad_input}, naming the
  /// tensor, for statistics that cannot be used.
  How of(const ExportTensor& t, int64_t expert);

  /// What had to be done to the statistics, by tensor.
  const std::map<std::string, std::string>& notes() const noexcept { return notes_; }

 private:
  KnownInput known(const ExportTensor& t, int64_t expert);

  const QuantizationPlan& plan_;
  ThreadPool& pool_;
  std::map<const void*, std::shared_ptr<const Prepared>> prepared_;  ///< by input
  std::vector<float> looked_up_;                                     ///< embedding_hessian
  std::vector<float> tied_;                                          ///< the two sides of a tied embedding
  std::map<std::string, std::string> notes_;
};

/// Memory that solving takes beyond windows and statistics.
uint64_t solving_memory(const QuantizationPlan& plan);

}  // namespace nibble
