// Columns rounded in the order of the Hessian's diagonal, and parameters fitted before them.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "methods/curvature.h"
#include "methods/published_gptq.h"

namespace nibble {
namespace {

using test::Problem;

void kill_column(Problem& p, int64_t column) {
  const int64_t n = p.shape.cols();
  for (int64_t j = 0; j < n; ++j) {
    p.hessian[static_cast<size_t>(j * n + column)] = 0;
    p.hessian[static_cast<size_t>(column * n + j)] = 0;
  }
}

/// The format's grids, fitted to the weights as they are, as the quantizer of each weight.
class StaticGrids {
 public:
  /// `importance` is by column; the planes give what belongs to the whole tensor.
  StaticGrids(const Format& format, const Problem& p, const std::vector<float>& importance, const QTensor& t)
      : format_(format), cols_(p.shape.cols()), block_(format.block(p.shape)) {
    const auto info = format.planes(p.shape);
    std::vector<std::byte*> base, at(info.size());
    for (const Plane& plane : t.planes) base.push_back(const_cast<std::byte*>(plane.bytes.data()));
    const auto total = static_cast<int64_t>(p.weights.size());
    for (int64_t begin = 0; begin < total; begin += block_) {
      const int64_t n = std::min(block_, total - begin);
      std::vector<float> weight;
      for (int64_t i = begin; i < begin + n; ++i)
        weight.push_back(importance[static_cast<size_t>(i % cols_)]);
      block_pointers(info, base.data(), begin / block_, at.data());
      format.fit(p.weights.data() + begin, weight.data(), n, at.data(), params_.emplace_back());
    }
  }
  double operator()(int64_t row, int64_t column, double w) const {
    const int64_t flat = row * cols_ + column;
    const auto x = static_cast<float>(w);
    Code code;
    float value;
    format_.round(&x, flat % block_, 1, params_[static_cast<size_t>(flat / block_)], &code, &value);
    return value;
  }

 private:
  const Format& format_;
  int64_t cols_, block_;
  std::vector<Params> params_;
};

/// Of each column for the fit of static groups: the geometric mean of what an error costs if no other column
/// makes up for it and if all later ones do.
std::vector<float> importance_in(const Curvature& c) {
  std::vector<float> all;
  for (int64_t j = 0; j < c.n; ++j)
    all.push_back(std::sqrt(c.d[static_cast<size_t>(j)] * c.diagonal[static_cast<size_t>(j)]));
  return all;
}

struct Case {
  const char* word;
  int64_t rows, cols;
  double damping;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.word; }

int64_t count_different(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t n = 0;
  for (size_t i = 0; i < a.size(); ++i) n += std::fabs(a[i] - b[i]) > 1e-6f;
  return n;
}

class AgainstThePublished : public testing::TestWithParam<Case> {};

// Weight by weight, with dead columns: groups, one scale for a row of odd length or for the whole tensor, a
// k-quant.
TEST_P(AgainstThePublished, WithStaticGroupsInEitherOrder) {
  const auto [word, rows, cols, damping] = GetParam();
  Problem p = test::make_problem(rows, cols, 7);
  kill_column(p, 5);
  kill_column(p, cols - 2);
  const Format& format = format_of(word);
  ThreadPool pool(1);
  std::vector<std::vector<float>> both;
  for (const bool act_order : {false, true}) {
    const SolverOptions options{
        .damping = damping, .passes = 0, .act_order = act_order, .static_groups = !act_order};
    const auto c = Curvature::of({{}, p.hessian}, options, pool);
    const QTensor t = test::solve(solver_of("gptq"), format, p, pool, 0, options);
    const auto got = test::decoded(format, t);
    const auto expected = published_gptq(p, damping, act_order, StaticGrids(format, p, importance_in(*c), t));
    EXPECT_EQ(count_different(got, expected.q), 0) << (act_order ? "by importance" : "from left to right");
    // What an error costs once later columns made up for it, in units of the mean diagonal.
    double mean = 0;
    for (int64_t j = 0; j < cols; ++j) mean += p.hessian[static_cast<size_t>(j * (cols + 1))];
    for (size_t j = 0; j < expected.u.size(); ++j) {
      const double cost = 1 / (expected.u[j] * expected.u[j]) * static_cast<double>(cols) / mean;
      EXPECT_NEAR(c->d[j], cost, 1e-4 * cost) << j;
    }
    both.push_back(got);
  }
  EXPECT_GT(count_different(both[0], both[1]), rows * cols / 50) << "the order was ignored";
}

INSTANTIATE_TEST_SUITE_P(
    Formats, AgainstThePublished,
    testing::Values(Case{"int4:g32:asym:minmax:f32", 6, 192, 0.01}, Case{"int3:g64:asym:zf", 5, 320, 0.1},
                    Case{"int4:g128", 4, 384, 0.01}, Case{"int4:channel:minmax:f32", 7, 203, 0.01},
                    Case{"int3:channel:asym", 3, 131, 0.001}, Case{"int4:tensor:minmax:f32", 5, 99, 0.01},
                    Case{"nf4:b64", 5, 96, 0.01}, Case{"q4_k", 4, 512, 0.01}, Case{"q2_k", 3, 256, 0.02},
                    Case{"q4_0", 6, 160, 0.01}),
    [](const auto& param_info) {
      return test::case_name(format_of(param_info.param.word)) + fmt::format("_{}", param_info.index);
    });

// A row's one scale is fitted before its first column either way (weighing columns alike, for once).
TEST(StaticGroups, AreNoNewsToOneBlockARow) {
  const Problem p = test::make_problem(5, 300, 3);
  const Format& format = format_of("int4:channel:minmax");
  ThreadPool pool(1);
  const auto usual = test::solve(solver_of("gptq"), format, p, pool, 0, {.passes = 0});
  const auto fixed = test::solve(solver_of("gptq"), format, p, pool, 0, {.passes = 0, .static_groups = true});
  EXPECT_EQ(test::bytes_of(usual), test::bytes_of(fixed));
}

TEST(StaticGroups, FollowFromTheWeightsAsTheyAre) {
  const Problem p = test::make_problem(5, 256, 3);
  const Format& format = format_of("int4:g64:minmax:f32");
  ThreadPool pool(1);
  const auto scales = [&](const QTensor& t) {
    return std::vector(t.planes[1].bytes.begin(), t.planes[1].bytes.end());
  };
  const auto nearest = scales(test::solve(solver_of("nearest"), format, p, pool));
  const Solver& gptq = solver_of("gptq");
  EXPECT_EQ(scales(test::solve(gptq, format, p, pool, 0, {.passes = 0, .static_groups = true})), nearest);
  EXPECT_EQ(scales(test::solve(gptq, format, p, pool, 0, {.passes = 0, .act_order = true})), nearest);
  EXPECT_NE(scales(test::solve(gptq, format, p, pool, 0, {.passes = 0})), nearest);
}

// With a round to spare the groups are fitted once more, to what their weights were asked for; a row takes
// that if its own loss falls. One round of descent then moves codes alone, so that all weights stay on the
// grids.
TEST(StaticGroups, AreFittedAgainToWhatWasAskedFor) {
  const Problem p = test::make_problem(12, 256, 19);
  const int64_t rows = p.shape.rows(), n = p.shape.cols();
  ThreadPool pool(1);
  for (const char* word : {"int3:g64:asym:f32", "int4:g32:f32", "int4:channel:f32"}) {
    for (const bool act_order : {false, true}) {
      const Format& format = format_of(word);
      const SolverOptions options{.passes = 1, .act_order = act_order, .static_groups = true};
      const QTensor t = test::solve(solver_of("gptq"), format, p, pool, 0, options);
      const auto got = test::decoded(format, t);
      const auto importance = importance_in(*Curvature::of({{}, p.hessian}, options, pool));
      Problem asked = p;  // its weights, once the reference is through
      const auto losses = [&](const StaticGrids& grids) {
        const auto published =
            published_gptq(p, options.damping, act_order, [&](int64_t r, int64_t j, double w) {
              asked.weights[static_cast<size_t>(r * n + j)] = static_cast<float>(w);
              return grids(r, j, w);
            });
        std::vector<double> all(static_cast<size_t>(rows));
        for (size_t i = 0; i < got.size(); ++i) {
          const double miss =
              (double{asked.weights[i]} - published.q[i]) / published.u[i % published.u.size()];
          all[i / static_cast<size_t>(n)] += miss * miss;
        }
        return all;
      };
      const StaticGrids first(format, p, importance, t);
      const auto before = losses(first);
      const StaticGrids second(format, asked, importance, t);
      const auto after = losses(second);
      int64_t refitted = 0, off_the_first = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const bool better = after[static_cast<size_t>(r)] < before[static_cast<size_t>(r)];
        refitted += better ? 1 : 0;
        for (int64_t j = 0; j < n; ++j) {
          const float x = got[static_cast<size_t>(r * n + j)];
          EXPECT_NEAR((better ? second : first)(r, j, x), x, 1e-6) << word << " " << r << " " << j;
          off_the_first += std::fabs(first(r, j, x) - x) > 1e-6;
        }
      }
      EXPECT_GT(refitted, 1) << word;
      EXPECT_GT(off_the_first, n) << word;
    }
  }
}

TEST(ActOrder, IsThatOfTheDiagonalAndThenFromLeftToRight) {
  // Many columns share a diagonal, and two are dead.
  Problem p = test::make_problem(1, 200, 3);
  const int64_t n = p.shape.cols();
  for (int64_t j = 0; j < n; ++j) {
    float& diagonal = p.hessian[static_cast<size_t>(j * (n + 1))];
    diagonal = 40.0f * std::ceil(diagonal);
  }
  kill_column(p, 150);
  kill_column(p, 20);
  ThreadPool pool(2);
  const auto c = Curvature::of({{}, p.hessian}, {.act_order = true}, pool);
  ASSERT_EQ(static_cast<int64_t>(c->order.size()), n);
  std::vector<int64_t> sorted = c->order, all(static_cast<size_t>(n));
  std::sort(sorted.begin(), sorted.end());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted, all);
  int64_t ties = 0;
  for (int64_t t = 1; t < n; ++t) {
    const int64_t a = c->column(t - 1), b = c->column(t);
    const float first = p.hessian[static_cast<size_t>(a * (n + 1))],
                second = p.hessian[static_cast<size_t>(b * (n + 1))];
    EXPECT_GE(first, second);
    if (first != second) continue;
    EXPECT_LT(a, b);
    ++ties;
  }
  EXPECT_GT(ties, n / 2);
  EXPECT_EQ(c->column(n - 2), 20);
  EXPECT_EQ(c->column(n - 1), 150);
  EXPECT_EQ(c->report().dead_columns, 2);
  EXPECT_TRUE(Curvature::of({{}, p.hessian}, {}, pool)->order.empty());
}

// The factor is that of the damped Hessian, sorted: m and d give it back.
TEST(ActOrder, FactorsTheSortedHessian) {
  const Problem p = test::make_problem(1, 150, 5);
  const int64_t n = p.shape.cols();
  ThreadPool pool(3);
  const auto c = Curvature::of({{}, p.hessian}, {.damping = 0.02, .act_order = true}, pool);
  const auto usual = Curvature::of({{}, p.hessian}, {.damping = 0.02}, pool);
  const auto all = [](const LargeArray<float>& x) { return std::vector(x.data(), x.data() + x.size()); };
  EXPECT_EQ(all(c->h), all(usual->h));
  EXPECT_NE(all(c->m), all(usual->m));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = 0;
      for (int64_t k = j; k < n; ++k) {
        sum += double{c->m[static_cast<size_t>(i * n + k)]} * c->m[static_cast<size_t>(j * n + k)] *
               c->d[static_cast<size_t>(c->column(k))];
      }
      const double h = c->h[static_cast<size_t>(c->column(i) * n + c->column(j))];
      ASSERT_NEAR(sum, h, 1e-4) << i << " " << j;
    }
  }
}

TEST(ActOrder, RaisesTheDampingAsWithout) {
  const int64_t n = 64;
  std::vector<float> h(static_cast<size_t>(n * n), 1.05f);
  for (int64_t j = 0; j < n; ++j) h[static_cast<size_t>(j * n + j)] = 1.0f;
  ThreadPool pool(1);
  const auto c = Curvature::of({{}, h}, {.damping = 0.01, .act_order = true}, pool);
  EXPECT_EQ(c->report().raised, 1);
  EXPECT_DOUBLE_EQ(c->report().damping, 0.1);
}

// What it is for: the columns that matter most are rounded while all others can still make up for them. Not
// in every format: those that fit a group closely, weighing its columns, spare the loud ones anyway and have
// less room for what the quiet ones are then asked for (docs/solvers.md).
TEST(ActOrder, LowersTheErrorWhereInputsAreUneven) {
  const Problem p = test::make_problem(16, 512, 11);
  ThreadPool pool(1);
  for (const char* word :
       {"int4:g128:asym:minmax", "int3:g128:asym:zf:minmax", "int3:channel", "int4:channel:asym"}) {
    const Format& format = format_of(word);
    const auto error = [&](const SolverOptions& options) {
      return test::relative_error(
          p, test::decoded(format, test::solve(solver_of("gptq"), format, p, pool, 0, options)));
    };
    const double usual = error({.passes = 0, .static_groups = true});
    const double ordered = error({.passes = 0, .act_order = true, .static_groups = true});
    EXPECT_LT(ordered, 0.95 * usual) << word;
    // The descent takes it from there.
    EXPECT_LT(error({.passes = 2, .act_order = true}), ordered) << word;
  }
}

/// Rounds pairs of weights, as a lattice would.
class Pairs final : public Format {
 public:
  const FormatInfo& info() const noexcept override { return of_.info(); }
  FormatSpec spec() const override { return of_.spec(); }
  int64_t block(const Shape& shape) const override { return of_.block(shape); }
  std::string misfit(const Shape& shape) const override { return of_.misfit(shape); }
  std::vector<PlaneInfo> planes(const Shape& shape) const override { return of_.planes(shape); }
  void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    of_.fit(x, importance, n, planes, params);
  }
  int64_t vector_width() const noexcept override { return 2; }
  void round(const float* x, int64_t first, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    EXPECT_EQ(first % 2 + n % 2, 0);
    of_.round(x, first, n, params, codes, values);
  }
  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    of_.pack(codes, n, params, planes);
  }
  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    of_.decode(planes, n, out);
  }

 private:
  const Format& of_ = format_of("int4:g32");
};

TEST(ActOrder, IsRefusedWhereNeighboursAreRoundedAtOnce) {
  const Problem p = test::make_problem(2, 64, 1);
  const Pairs pairs;
  ThreadPool pool(1);
  EXPECT_NO_THROW(test::solve(solver_of("gptq"), pairs, p, pool, 0, {.static_groups = true}));
  try {
    test::solve(solver_of("gptq"), pairs, p, pool, 0, {.act_order = true});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::unsupported);
    EXPECT_NE(std::string(e.what()).find("rounds 2 neighbours"), std::string::npos) << e.what();
    EXPECT_FALSE(e.hint().empty());
  }
}

}  // namespace
}  // namespace nibble
