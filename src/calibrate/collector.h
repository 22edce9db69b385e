#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "calibrate/input_stats.h"

namespace nibble {

/// Collects statistics of the inputs of all matrices of a program, or of a part of one. Matrices that read
/// the same value share one InputStats.
class Collector final : public InputObserver {
 public:
  Collector(const Collect& collect, ThreadPool& pool) : collect_(collect), pool_(pool) {}

  /// Before every sequence.
  void begin_sequence();
  void see(const Node& node, const Weight& weight, int64_t slice, const Value& x) override;
  /// After the last sequence: what was collected. The collector is empty afterwards.
  std::vector<InputStats> take();

 private:
  Collect collect_;
  ThreadPool& pool_;
  std::vector<InputStats> stats_;
  std::vector<bool> seen_;  ///< in this sequence
  std::map<std::tuple<std::string, int64_t>, size_t, std::less<>> index_;
  /// Values that were read in this sequence: slot, address and slice to the statistics they went to.
  std::map<std::tuple<int, const float*, int64_t>, size_t> values_;
};

}  // namespace nibble
