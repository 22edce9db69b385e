#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/pool.h"
#include "formats/format.h"
#include "kernels/precision.h"

namespace nibble {

/// What a solver may know of the data that a matrix multiplies. Empty members were not collected.
struct Stats {
  std::span<const float> importance = {};  ///< [cols] mean squared input, not negative
  std::span<const float> hessian = {};     ///< [cols, cols] XᵀX, symmetric, by any common factor
  std::span<const float> maxima = {};      ///< [cols] largest |input|
};

/// What a solver, a transform or a static range asks the calibration pass for.
struct Needs {
  bool importance = false;
  bool hessian = false;
  bool maxima = false;
  bool histogram = false;  ///< of the values of an input

  bool any() const noexcept { return importance || hessian || maxima || histogram; }
};

/// What the user may set; a solver ignores what it has no use for.
struct SolverOptions {
  double damping = 0.01;  ///< share of the Hessian's mean diagonal that is added to its diagonal, at least
  int passes = 6;         ///< rounds of coordinate descent after rounding, at most; 0: GPTQ as published
  /// Columns are rounded by falling diagonal of the Hessian instead of from left to right (`desc_act` of
  /// GPTQ's authors). The next column may be in any block, so this implies static groups.
  bool act_order = false;
  /// The parameters of all blocks are fitted before the first column is rounded, to the weights as they are;
  /// with `passes`, at most twice again to what the weights were in the end asked for.
  bool static_groups = false;
  /// Fast: with fused multiply-adds where the machine has them. The bytes then depend on the machine, as they
  /// do where the statistics were collected that way.
  Precision precision = Precision::exact;
};

/// What had to be done to the statistics before they could be used, for the ledger.
struct PrepareReport {
  double damping = 0;        ///< share of the mean diagonal that was added
  int raised = 0;            ///< how often the damping had to grow until the factorization held
  int64_t dead_columns = 0;  ///< inputs that are always zero: their weights do not matter
};

/// What a solver makes of the statistics of one input before it meets the weights: shared by all matrices
/// that multiply this input, read by all threads. Owns everything it needs; the statistics may go.
class Prepared {
 public:
  virtual ~Prepared() = default;
  const PrepareReport& report() const noexcept { return report_; }

 protected:
  PrepareReport report_;
};

/// Consecutive whole blocks of one tensor, and where their codes go.
struct Window {
  const Format& format;
  const Shape& shape;                  ///< of the whole tensor
  const std::vector<PlaneInfo>& info;  ///< format.planes(shape)
  int64_t first_block = 0;             ///< of the window within the tensor
  std::span<const float> x;            ///< the weights, finite; whole blocks but for the tensor's last one
  const Stats& stats;                  ///< what needs() asked for except the Hessian, which is in Prepared
  std::span<std::byte* const>
      planes;  ///< plane i at the window's first block, or at its start if tensor-wide
};

/// Chooses the codes of a window of weights. Windows always hold whole rows, so a solver that works along
/// rows sees all columns. The same window gives the same bytes on every machine and thread.
class Solver {
 public:
  virtual ~Solver() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual Needs needs() const noexcept { return {}; }
  /// Once per group of matrices that multiply the same input, on all threads of the pool; the result does not
  /// depend on their number. Null for a solver that keeps nothing. Throws Error{bad_input} for statistics
  /// that are missing, of the wrong size, or hold NaN or infinity.
  virtual std::shared_ptr<const Prepared> prepare(const Stats&, const SolverOptions&, ThreadPool&) const {
    return nullptr;
  }
  /// `prepared` is what prepare() of this solver gave for the statistics of the window's tensor; many windows
  /// may be solved at once.
  virtual void solve(const Window& window, const Prepared* prepared) const = 0;
};

/// Every solver, in the order of solvers/list.inc.
std::span<const Solver* const> solvers();
/// Throws Error{usage} for an unknown name.
const Solver& solver_of(std::string_view name);

}  // namespace nibble
