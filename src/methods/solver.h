#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "formats/format.h"

namespace nibble {

/// What a solver may know of the data that a matrix multiplies. Empty members were not collected.
struct Stats {
  std::span<const float> importance;  ///< [cols] mean squared input, not negative
  std::span<const float> hessian;     ///< [cols, cols] XᵀX, symmetric
};

/// What a solver asks the calibration pass for.
struct Needs {
  bool importance = false;
  bool hessian = false;
};

/// Consecutive whole blocks of one tensor, and where their codes go.
struct Window {
  const Format& format;
  const Shape& shape;                  ///< of the whole tensor
  const std::vector<PlaneInfo>& info;  ///< format.planes(shape)
  int64_t first_block = 0;             ///< of the window within the tensor
  std::span<const float> x;            ///< the weights, finite; whole blocks but for the tensor's last one
  const Stats& stats;
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
  virtual void solve(const Window& window) const = 0;
};

/// Every solver, in the order of solvers/list.inc.
std::span<const Solver* const> solvers();
/// Throws Error{usage} for an unknown name.
const Solver& solver_of(std::string_view name);

}  // namespace nibble
