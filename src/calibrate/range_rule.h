#pragma once

#include <string>
#include <string_view>

#include "calibrate/input_stats.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// How the static range of an input follows from what was seen of it, as people write it:
///  - `minmax`: all that was seen;
///  - `momentum`: the smallest and largest value of each sequence, averaged with a weight of
///    InputStats::momentum for the newest (PyTorch's MovingAverageMinMaxObserver);
///  - `percentile=P`: without the (100 - P) / 2 % that lie lowest and highest, P in (0, 100];
///  - `std=K`: K standard deviations on both sides of the mean, no further than what was seen;
///  - `mse`: the range with the least mean squared error of what was seen, rounded;
///  - `entropy`: the range whose rounded distribution has the least KL divergence from the one seen
///    (Migacz 2017, TensorRT).
struct RangeRule {
  enum class Kind : uint8_t { minmax, momentum, percentile, deviation, mse, entropy };

  Kind kind = Kind::minmax;
  double value = 0;  ///< P or K

  /// Throws Error{usage} for a word that is none.
  static RangeRule parse(std::string_view word);
  std::string to_string() const;
  /// Whether the distribution must have been collected.
  bool wants_histogram() const noexcept;
};

/// The range of an input of which something was seen, for whole numbers of `bits` bits, with their middle at
/// zero or not. Throws Error{bad_input} if the rule wants a histogram and none was collected.
InputRange find_range(const RangeRule& rule, const InputStats& stats, int bits, bool asymmetric);

}  // namespace nibble
