#include <algorithm>
#include <numeric>

#include "methods/row_solver.h"

namespace nibble {
namespace {

class Gptq final : public Solver {
 public:
  std::string_view name() const noexcept override { return "gptq"; }
  Needs needs() const noexcept override { return {.hessian = true}; }

  std::shared_ptr<const Prepared> prepare(const Stats& stats, const SolverOptions& options,
                                          ThreadPool& pool) const override {
    return Curvature::of(stats, options, pool);
  }

  void solve(const Window& w, const Prepared* prepared) const override {
    const auto* c = dynamic_cast<const Curvature*>(prepared);
    if (c == nullptr) fail(ErrorKind::internal, "gptq: a window came without what prepare() gave");
    RowSolver(w, *c).run();
  }
};

}  // namespace

const Solver& gptq_solver() {
  static const Gptq solver;
  return solver;
}

}  // namespace nibble
