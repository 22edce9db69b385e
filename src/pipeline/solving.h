#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "pipeline/scaling.h"

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
  Solving(const QuantizationPlan& plan, ThreadPool& pool) : plan_(plan), pool_(pool), scaling_(plan) {}

  /// Goes on to the next part; what of() gave for an earlier one is gone.
  void begin(int64_t part);
  /// Whether the tensor is rounded with statistics.
  bool wants_stats(const ExportTensor& t) const;
  /// Whether its weights are changed before they are rounded.
  bool transforms(const ExportTensor& t) const { return scaling_.touches(t); }
  /// Collects the statistics of the part: before the first tensor that wants them, or is transformed.
  void enter(const std::function<void()>& step);
  /// Transforms rows [row, row + x.size() / cols) of a tensor. Safe from several threads.
  void transform(const ExportTensor& t, int64_t row, std::span<float> x) const {
    scaling_.rescale(t, row, x);
  }
  /// How to round rows of a tensor, of one expert where it is a stack. Throws Error{bad_input}, naming the
  /// tensor, for statistics that cannot be used.
  How of(const ExportTensor& t, int64_t expert);
  /// The statistics it is rounded with; empty ones where there are none.
  KnownInput input_of(const ExportTensor& t, int64_t expert);

  /// What had to be done to the statistics, by tensor.
  std::map<std::string, std::string> notes() const;

 private:
  void scale(KnownInput& k, std::span<const float> columns);

  const QuantizationPlan& plan_;
  ThreadPool& pool_;
  std::map<const void*, std::shared_ptr<const Prepared>> prepared_;  ///< by input
  std::vector<float> looked_up_;                                     ///< embedding_hessian
  std::vector<float> tied_;                                          ///< the two sides of a tied embedding
  PartScaling scaling_;
  /// Statistics of scaled inputs: importance and Hessian, by the input.
  std::map<const void*, std::pair<std::vector<float>, std::vector<float>>> scaled_;
  int64_t part_ = -1;
  std::map<std::string, std::string> notes_;
};

/// Memory that solving takes beyond windows and statistics.
uint64_t solving_memory(const QuantizationPlan& plan);

}  // namespace nibble
