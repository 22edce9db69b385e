#include "methods/solver.h"

namespace nibble {

#define SOLVER(name) const Solver& name##_solver();
#include "methods/solvers/list.inc"
#undef SOLVER

std::span<const Solver* const> solvers() {
  static const Solver* const list[] = {
#define SOLVER(name) &name##_solver(),
#include "methods/solvers/list.inc"
#undef SOLVER
  };
  return list;
}

const Solver& solver_of(std::string_view name) {
  std::string known;
  for (const Solver* s : solvers()) {
    if (s->name() == name) return *s;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", s->name());
  }
  throw Error(ErrorKind::usage, fmt::format("unknown solver '{}'", name), "there is " + known);
}

}  // namespace nibble
