// The cases that every pair of a solver and a format gets; they know neither by name, except that a solver
// which asks for a Hessian has to make use of it.
#include <gtest/gtest.h>

#include "kernels/isa.h"
#include "methods/under_solver.h"

namespace nibble {
namespace {

class EveryFormat : public testing::TestWithParam<const Format*> {
 protected:
  static const Format& format() { return *GetParam(); }
  static void expect_same_bytes(const Solver& s, const test::Problem& p, const SolverOptions& options) {
    ThreadPool one(1), three(3);
    const auto expected = test::bytes_of(test::solve(s, format(), p, one, 0, options));
    const int64_t step = 256 % format().block(p.shape) == 0 ? 5 : 13;
    EXPECT_EQ(test::bytes_of(test::solve(s, format(), p, three, step, options)), expected) << s.name();
    const IsaLevel usual = isa_level();
    set_isa_level(IsaLevel::scalar);
    EXPECT_EQ(test::bytes_of(test::solve(s, format(), p, one, 0, options)), expected) << s.name();
    set_isa_level(usual);
  }
  ThreadPool pool_{2};
};

TEST_P(EveryFormat, HessianLowersTheErrorOfTheOutputs) {
  static const test::Problem p = test::make_problem(8, 256, 5);
  const double nearest =
      test::relative_error(p, test::decoded(format(), test::solve(solver_of("nearest"), format(), p, pool_)));
  for (const Solver* s : solvers()) {
    if (!s->needs().hessian) continue;
    const double e = test::relative_error(p, test::decoded(format(), test::solve(*s, format(), p, pool_)));
    // Below 1e-12 the format lost nothing that single precision could show.
    EXPECT_TRUE(e < nearest || nearest < 1e-12) << s->name() << " " << e << ", nearest " << nearest;
  }
}

TEST_P(EveryFormat, WindowsThreadsAndInstructionSetsChangeNoByte) {
  static const test::Problem p = test::make_problem(13, 256, 9);
  for (const Solver* s : solvers()) {
    expect_same_bytes(*s, p, {});
    if (!s->needs().hessian) continue;
    expect_same_bytes(*s, p, {.act_order = true});
    expect_same_bytes(*s, p, {.static_groups = true});
  }
}

INSTANTIATE_TEST_SUITE_P(List, EveryFormat, testing::ValuesIn(test::writable_formats()),
                         [](const auto& param_info) { return test::case_name(*param_info.param); });

}  // namespace
}  // namespace nibble
