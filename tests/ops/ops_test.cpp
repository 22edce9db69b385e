// Each operation against the same formula in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "ops/activation.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/run_op.h"

namespace nibble {
namespace {

using test::gaussian;
using test::run_op;
using test::weight;

class Ops : public testing::Test {
 protected:
  RunContext context(int64_t rows, int64_t position = 0) {
    tokens_.assign(static_cast<size_t>(rows), 0);
    sequence_ = {0, rows, position, 1000, {}};
    return {pool_, tokens_, {}, {&sequence_, 1}, {}, {}};
  }
  void near(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << "at " << i;
  }
  ThreadPool pool_{2};
  std::vector<int32_t> tokens_;
  SequenceRows sequence_;
};

TEST_F(Ops, EmbeddingAddsItsTables) {
  auto run = context(2, 3);
  tokens_ = {4, 1};
  const std::vector<int32_t> types{1, 0};
  run.token_types = types;
  const auto t = gaussian(5 * 3, 1), p = gaussian(8 * 3, 2), s = gaussian(2 * 3, 3);
  const auto y =
      run_op(embedding_op, run, {}, {weight("t", {5, 3}, t), weight("p", {8, 3}, p), weight("s", {2, 3}, s)},
             EmbeddingAttributes{2, 1});
  for (int c = 0; c < 3; ++c) {
    EXPECT_FLOAT_EQ(y[size_t(c)], 2 * t[size_t(12 + c)] + p[size_t(12 + c)] + s[size_t(3 + c)]);
    EXPECT_FLOAT_EQ(y[size_t(3 + c)], 2 * t[size_t(3 + c)] + p[size_t(15 + c)] + s[size_t(c)]);
  }
}

TEST_F(Ops, EmbeddingReadsTablesOfAnyFormat) {
  auto run = context(2, 3);
  tokens_ = {4, 1};
  const auto t = weight("t", {5, 32}, gaussian(5 * 32, 1), "q8_0");
  const auto p = weight("p", {8, 32}, gaussian(8 * 32, 2), "bf16");
  const auto y = run_op(embedding_op, run, {}, {t, p}, EmbeddingAttributes{2, 1});
  std::vector<float> token(32), position(32);
  for (size_t i = 0; i < 2; ++i) {
    t->matrix->decode_rows(tokens_[i], 1, token.data(), 32);
    p->matrix->decode_rows(4 + static_cast<int64_t>(i), 1, position.data(), 32);
    for (size_t c = 0; c < 32; ++c)
      EXPECT_FLOAT_EQ(y[32 * i + c], 2 * token[c] + position[c]) << i << " " << c;
  }
}

TEST_F(Ops, EmbeddingRefusesWhatIsOutsideItsTables) {
  auto run = context(1, 8);
  const auto table = weight("token_embd.weight", {5, 3}, gaussian(15, 1));
  tokens_ = {5};
  EXPECT_THROW(run_op(embedding_op, run, {}, {table}, EmbeddingAttributes{}), Error);
  tokens_ = {-1};
  EXPECT_THROW(run_op(embedding_op, run, {}, {table}, EmbeddingAttributes{}), Error);
  tokens_ = {4};
  const auto positions = weight("position_embd.weight", {8, 3}, gaussian(24, 1));
  EXPECT_THROW(run_op(embedding_op, run, {}, {table, positions}, EmbeddingAttributes{}), Error);
}

TEST_F(Ops, NormsOverRowsAndGroups) {
  for (const bool center : {false, true}) {
    for (const int64_t width : {12, 4}) {
      auto run = context(5);
      const auto x = gaussian(60, 1, 3), w = gaussian(width, 2), b = gaussian(width, 3);
      const auto y = run_op(norm_op, run, {{x, 12}}, {weight("w", {width}, w), weight("b", {width}, b)},
                            NormAttributes{center, 1e-5, width});
      std::vector<double> want(60);
      for (size_t g = 0; g < 60; g += size_t(width)) {
        double mean = 0, square = 0;
        for (size_t c = 0; c < size_t(width); ++c) mean += x[g + c] / double(width);
        if (!center) mean = 0;
        for (size_t c = 0; c < size_t(width); ++c) square += std::pow(x[g + c] - mean, 2) / double(width);
        for (size_t c = 0; c < size_t(width); ++c)
          want[g + c] = (x[g + c] - mean) / std::sqrt(square + 1e-5) * w[c] + b[c];
      }
      near(y, want, 2e-6);
    }
  }
}

TEST_F(Ops, LinearTakesPartsOfAFusedMatrix) {
  auto run = context(3);
  const auto x = gaussian(3 * 20, 1), w = gaussian(9 * 20, 2), b = gaussian(9, 3);
  const auto y = run_op(linear_op, run, {{x, 20}}, {weight("w", {9, 20}, w), weight("b", {9}, b)},
                        LinearAttributes{4, 3, 9});
  std::vector<double> want;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 4; j < 7; ++j) {
      double sum = b[j];
      for (size_t k = 0; k < 20; ++k) sum += double(x[i * 20 + k]) * w[j * 20 + k];
      want.push_back(sum);
    }
  }
  near(y, want, 1e-5);
}

TEST_F(Ops, WrongShapesAreNamed) {
  auto run = context(3);
  try {
    run_op(linear_op, run, {{gaussian(60, 1), 20}},
           {weight("blk.7.attn_q.weight", {9, 19}, gaussian(171, 2))}, LinearAttributes{0, 9, 9});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "blk.7.attn_q.weight has shape [9, 19], expected [9, 20]");
  }
}

TEST_F(Ops, Activations) {
  const std::vector<std::pair<ActivationKind, std::function<double(double)>>> cases{
      {ActivationKind::silu, [](double x) { return x / (1 + std::exp(-x)); }},
      {ActivationKind::relu, [](double x) { return std::max(x, 0.0); }},
      {ActivationKind::gelu_erf, [](double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }},
      {ActivationKind::gelu_tanh, [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
       }}};
  for (const auto& [kind, f] : cases) {
    auto run = context(2);
    auto x = gaussian(40, 1, 4), up = gaussian(40, 2);
    x[3] = 90;
    x[4] = -90;
    std::vector<double> want(40), gated(40);
    for (size_t i = 0; i < 40; ++i) gated[i] = (want[i] = f(x[i])) * up[i];
    near(run_op(activation_op, run, {{x, 20}}, {}, ActivationAttributes{kind}), want, 2e-6);
    near(run_op(activation_op, run, {{x, 20}, {up, 20}}, {}, ActivationAttributes{kind}), gated, 2e-5);
  }
}

TEST_F(Ops, AddAndSoftcapAndSelect) {
  auto run = context(3);
  const auto a = gaussian(12, 1, 40), b = gaussian(12, 2);
  std::vector<double> sum, capped;
  for (size_t i = 0; i < 12; ++i) {
    sum.push_back(double(a[i]) + b[i]);
    capped.push_back(30 * std::tanh(a[i] / 30.0));
  }
  near(run_op(add_op, run, {{a, 4}, {b, 4}}, {}, {}), sum, 1e-5);
  near(run_op(softcap_op, run, {{a, 4}}, {}, SoftcapAttributes{30}), capped, 1e-5);
  const std::vector<int64_t> rows{2, 0};
  run.selected = rows;
  const auto y = run_op(select_rows_op, run, {{a, 4}}, {}, {});
  ASSERT_EQ(y.size(), 8u);
  EXPECT_EQ(y[0], a[8]);
  EXPECT_EQ(y[7], a[3]);
}

TEST_F(Ops, RopeTurnsPairs) {
  for (const bool interleaved : {false, true}) {
    const auto table = std::make_shared<RopeTable>();
    table->frequency = rope_frequencies(6, 100);
    table->magnitude = 1.25;
    auto run = context(4, 17);
    const auto x = gaussian(4 * 16, 1);  // two heads of 8, of which 6 entries turn
    const auto y = run_op(rope_op, run, {{x, 16}}, {}, RopeAttributes{table, 8, interleaved});
    std::vector<double> want(x.begin(), x.end());
    for (size_t i = 0; i < 4; ++i) {
      for (size_t h = 0; h < 2; ++h) {
        for (size_t j = 0; j < 3; ++j) {
          const double angle = double(17 + i) * std::pow(100, -double(j) / 3);
          const size_t at = i * 16 + h * 8;
          const size_t one = at + (interleaved ? 2 * j : j), two = at + (interleaved ? 2 * j + 1 : j + 3);
          want[one] = 1.25 * (x[one] * std::cos(angle) - x[two] * std::sin(angle));
          want[two] = 1.25 * (x[one] * std::sin(angle) + x[two] * std::cos(angle));
        }
      }
    }
    near(y, want, 2e-6);
  }
}

TEST_F(Ops, RopeStretchesBeyondTheOriginalContext) {
  const auto table = std::make_shared<RopeTable>();
  table->frequency = {1};
  table->long_frequency = {0.5};
  table->long_from = 1000;
  const RopeAttributes attributes{table, 2, true};
  // Of two sequences in one batch, each as its own context asks.
  auto both = context(2);
  const SequenceRows sequences[] = {{0, 1, 1, 1000, {}}, {1, 1, 1, 1001, {}}};
  both.sequences = sequences;
  const auto y = run_op(rope_op, both, {{{1, 0, 1, 0}, 2}}, {}, attributes);
  EXPECT_NEAR(y[0], std::cos(1.0), 1e-6);
  EXPECT_NEAR(y[2], std::cos(0.5), 1e-6);
}

TEST(RopeScaling, FollowsTheirFormulas) {
  auto f = rope_frequencies(8, 10000);
  rope_scale_linear(f, 4);
  EXPECT_NEAR(f[1], 0.1 / 4, 1e-12);

  // Llama 3.1 with its published numbers: short waves stay, long ones are divided by 8.
  f = rope_frequencies(128, 500000);
  const auto factors = rope_llama3_factors(f, 8, 1, 4, 8192);
  EXPECT_EQ(factors.front(), 1);
  EXPECT_EQ(factors.back(), 8);
  for (size_t j = 1; j < factors.size(); ++j) EXPECT_GE(factors[j], factors[j - 1]);

  // YaRN: the first pair turns often enough to stay, the last is interpolated.
  auto yarn = rope_frequencies(128, 10000);
  rope_scale_yarn(yarn, 10000, 16, 4096, 32, 1);
  f = rope_frequencies(128, 10000);
  EXPECT_EQ(yarn[0], f[0]);
  EXPECT_NEAR(yarn[63], f[63] / 16, 1e-15);
  // Pair 20 turns 4096 / (2 pi / f) = 36.7 times, above beta_fast; pair 46, 0.87 times, below beta_slow.
  EXPECT_EQ(yarn[20], f[20]);
  EXPECT_NEAR(yarn[46], f[46] / 16, 1e-15);
  EXPECT_LT(yarn[30], f[30]);
  EXPECT_GT(yarn[30], f[30] / 16);

  EXPECT_THROW(rope_divide(f, std::vector<double>{1, 2}), Error);
  EXPECT_THROW(rope_divide(f, std::vector<double>(64, 0.0)), Error);
}

TEST_F(Ops, MixtureOfExpertsIsASumOfDenseBlocks) {
  const int64_t experts = 5, hidden = 8, inner = 6, rows = 7;
  for (const bool renormalize : {true, false}) {
    auto run = context(rows);
    const auto x = gaussian(rows * hidden, 1), router = gaussian(experts * hidden, 2);
    const auto gate = gaussian(experts * inner * hidden, 3), up = gaussian(experts * inner * hidden, 4),
               down = gaussian(experts * hidden * inner, 5);
    const auto y =
        run_op(moe_op, run, {{x, hidden}},
               {weight("r", {experts, hidden}, router), weight("g", {experts, inner, hidden}, gate),
                weight("u", {experts, inner, hidden}, up), weight("d", {experts, hidden, inner}, down)},
               MoeAttributes{experts, 2, renormalize, ActivationKind::silu});
    const auto dot = [&](const std::vector<float>& m, int64_t row, const auto& v) {
      double sum = 0;
      for (size_t c = 0; c < v.size(); ++c) sum += m[size_t(row) * v.size() + c] * double(v[c]);
      return sum;
    };
    std::vector<double> want;
    for (int64_t i = 0; i < rows; ++i) {
      const std::vector<double> row(x.begin() + i * hidden, x.begin() + (i + 1) * hidden);
      std::vector<double> p;
      double total = 0;
      for (int64_t e = 0; e < experts; ++e) total += p.emplace_back(std::exp(dot(router, e, row)));
      std::vector<int64_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](auto a, auto b) { return p[size_t(a)] > p[size_t(b)]; });
      const double chosen = p[size_t(order[0])] + p[size_t(order[1])];
      std::vector<double> sum(hidden);
      for (const int64_t e : {order[0], order[1]}) {
        std::vector<double> h;
        for (int64_t j = 0; j < inner; ++j) {
          const double g = dot(gate, e * inner + j, row);
          h.push_back(g / (1 + std::exp(-g)) * dot(up, e * inner + j, row));
        }
        for (int64_t c = 0; c < hidden; ++c)
          sum[size_t(c)] += p[size_t(e)] / (renormalize ? chosen : total) * dot(down, e * hidden + c, h);
      }
      want.insert(want.end(), sum.begin(), sum.end());
    }
    near(y, want, 2e-4);
  }
}

}  // namespace
}  // namespace nibble
