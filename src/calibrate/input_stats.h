#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "containers/imatrix.h"
#include "formats/histogram.h"
#include "kernels/gram.h"
#include "ops/op.h"

namespace nibble {

/// What was seen of one input of matrices (of one expert of a stack): shared by all matrices that read it.
struct InputStats {
  std::vector<std::string> readers;  ///< canonical names, the first that was seen first
  int64_t slice = 0;                 ///< expert
  int64_t cols = 0;
  int64_t rows = 0;  ///< tokens seen

  std::vector<double> sum, sum2;  ///< [cols] of the values and their squares
  std::vector<float> min, max;    ///< [cols]
  std::vector<float> hessian;     ///< [cols, cols] XᵀX; empty if not asked for
  /// Smallest and largest value of each call of add_rows, averaged with the weight `momentum` for the newest.
  float running_low = 0, running_high = 0;
  static constexpr float momentum = 0.1f;
  Histogram::Points values;  ///< how often which values were seen; empty if not asked for

  /// [cols] mean squared input; empty if no token was seen.
  std::vector<float> importance() const;
  /// [cols] largest magnitude; 0 if no token was seen.
  std::vector<float> maxima() const;

  std::vector<Histogram> histogram;  ///< one while `values` are being collected
  std::vector<Gram> gram;            ///< one while `hessian` is
};

/// What is to be collected beside the sums over channels, which cost next to nothing.
struct Collect {
  bool hessian = false;
  bool histogram = false;
  Precision precision = Precision::exact;  ///< of XᵀX: see Gram
};

/// Adds rows to statistics. Sums are independent of threads, and of instruction sets but for those of XᵀX
/// with Precision::fast. Until finish_stats() there are no Hessian and no values. Throws Error{bad_input}
/// naming the reader for NaN or infinite inputs.
void add_rows(InputStats& stats, const Value& x, const Collect& collect, ThreadPool& pool);
void finish_stats(InputStats& stats, ThreadPool& pool);

/// Adds the statistics of another slice with as many columns: for experts that saw too few tokens.
void add_stats(InputStats& to, const InputStats& from);

/// Adds an entry for every reader; `slices` experts, 1 where there are none.
void add_to_imatrix(Imatrix& imatrix, const InputStats& stats, int64_t slices);

}  // namespace nibble
