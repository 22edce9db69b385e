// Products, look-ups and mixtures of experts in whole numbers.
#include "ops/integer/linear.h"

#include <gtest/gtest.h>

#include "fixed_rows.h"
#include "kernels/fixed.h"
#include "ops/integer/embedding.h"
#include "ops/integer/moe.h"

namespace nibble {
namespace {

using test::fixed_rows;
using test::FixedRows;

constexpr int64_t rows = 3, cols = 96, outputs = 37;

struct IntegerProducts : testing::Test {
  ThreadPool pool{2};
  std::vector<int32_t> tokens = std::vector<int32_t>(rows);
  SequenceRows sequence{0, static_cast<int64_t>(tokens.size()), 0, 8, {}};
  RunContext context{pool, tokens, {}, {&sequence, 1}, {}, {}};

  FixedRows product(const Matrix& w, int64_t first, int64_t n, const std::vector<float>& bias,
                    const FixedRows& x) {
    return test::run_integer_made(integer_linear_op, context, {x}, [&] {
      return IntegerLinear{std::make_shared<IntegerMatrix>(w, first, n, bias, pool)};
    });
  }
};

std::vector<double> decoded(const Matrix& w) {
  std::vector<float> x(static_cast<size_t>(w.rows() * w.cols()));
  w.decode_rows(0, w.rows(), x.data(), w.cols());
  return {x.begin(), x.end()};
}

/// x W^T + b for rows [first, first + n) of w.
std::vector<double> exact(const std::vector<double>& w, int64_t first, int64_t n,
                          const std::vector<float>& bias, const std::vector<double>& x) {
  std::vector<double> y;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(j)];
      for (int64_t c = 0; c < cols; ++c)
        sum += x[static_cast<size_t>(i * cols + c)] * w[static_cast<size_t>((first + j) * cols + c)];
      y.push_back(sum);
    }
  }
  return y;
}

constexpr const char* formats[] = {"int8:channel", "int8:g32",     "int8:g16:asym", "int4:g32:asym",
                                   "int2:g96",     "int5:channel", "q8_0",          "q4_0"};

TEST_F(IntegerProducts, NumbersOfEightBitsAreMultipliedExactly) {
  // Rows whose entries are whole multiples of 1/127 of the largest: rounding changes nothing.
  Rng rng(3);
  std::vector<double> x;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < cols; ++c)
      x.push_back(c == 5 ? -127 * std::pow(1000, i)
                         : (static_cast<double>(rng.below(255)) - 127) * std::pow(1000, i));
  }
  for (const char* format : formats) {
    const auto w = test::weight("w", {outputs, cols}, test::gaussian(outputs * cols, 1), format);
    for (const bool with_bias : {false, true}) {
      const std::vector<float> bias = with_bias ? test::gaussian(30, 2, 50) : std::vector<float>{};
      const FixedRows in = fixed_rows(x, cols, 24);
      const auto y = product(*w->matrix, 4, 30, bias, in).values();
      const auto truth = exact(decoded(*w->matrix), 4, 30, bias, in.values());
      for (int64_t i = 0; i < rows; ++i) {
        // 2^-28 of the largest result that such a row could give; the bias takes one bit more.
        double reach = 0;
        for (const double v : decoded(*w->matrix)) reach = std::max(reach, std::fabs(v));
        reach *= static_cast<double>(cols) * 127 * std::pow(1000, static_cast<double>(i));
        reach += with_bias ? 50 * 4 : 0;
        for (size_t j = 0; j < 30; ++j) {
          const size_t at = static_cast<size_t>(i) * 30 + j;
          ASSERT_NEAR(y[at], truth[at], reach * std::ldexp(1, -22))
              << format << " row " << i << " bias " << with_bias;
        }
      }
    }
  }
}

TEST_F(IntegerProducts, RoundingIsThatOfEightBits) {
  const auto x = test::normal(rows * cols, 7);
  for (const int bits : {30, 20, 9}) {
    const FixedRows in = fixed_rows(x, cols, bits);
    for (const char* format : formats) {
      const auto w = test::weight("w", {outputs, cols}, test::gaussian(outputs * cols, 1), format);
      const auto y = product(*w->matrix, 0, outputs, {}, in).values();
      const auto values = in.values(), weights = decoded(*w->matrix);
      const auto truth = exact(weights, 0, outputs, {}, values);
      for (int64_t i = 0; i < rows; ++i) {
        double most = 0;
        for (int64_t c = 0; c < cols; ++c)
          most = std::max(most, std::fabs(values[static_cast<size_t>(i * cols + c)]));
        for (int64_t j = 0; j < outputs; ++j) {
          double sum = 0;
          for (int64_t c = 0; c < cols; ++c) sum += std::fabs(weights[static_cast<size_t>(j * cols + c)]);
          const auto at = static_cast<size_t>(i * outputs + j);
          // Half a step for every entry at most, and 2^-15 for finding the step.
          ASSERT_LE(std::fabs(y[at] - truth[at]), sum * most * (0.501 / 127 + std::ldexp(1, -14))) << format;
        }
      }
    }
  }
}

TEST_F(IntegerProducts, ZerosGiveTheBias) {
  const auto w = test::weight("w", {outputs, cols}, test::gaussian(outputs * cols, 1), "int8:channel");
  const auto bias = test::gaussian(outputs, 2);
  const auto y =
      product(*w->matrix, 0, outputs, bias, fixed_rows(std::vector<double>(rows * cols), cols)).values();
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], bias[i % outputs], 1e-7);
}

TEST_F(IntegerProducts, RefuseWhatIsNoNumberAndOtherShapes) {
  const auto w = test::weight("w", {outputs, cols}, test::gaussian(outputs * cols, 1), "int8:channel");
  std::vector<float> bias(outputs);
  bias[3] = NAN;
  EXPECT_THROW(IntegerMatrix(*w->matrix, 0, outputs, bias, pool), Error);
  const Node node{
      &integer_linear_op,
      "node",
      {},
      {},
      {},
      IntegerLinear{std::make_shared<IntegerMatrix>(*w->matrix, 0, outputs, std::span<const float>{}, pool)}};
  for (const Extent& bad : {Extent{RowSet::all, cols - 1, true}, Extent{RowSet::all, cols, false}})
    EXPECT_THROW(integer_linear_op.shape(node, {&bad, 1}), Error);
}

TEST_F(IntegerProducts, ObserversAreToldThatThereAreNoFloats) {
  struct Silent final : InputObserver {
    void see(const Node&, const Weight&, int64_t, const Value&) override {}
  } silent;
  const auto w = test::weight("w", {outputs, cols}, test::gaussian(outputs * cols, 1), "int8:channel");
  RunContext watched{pool, tokens, {}, {&sequence, 1}, {}, {}, &silent};
  const IntegerLinear a{
      std::make_shared<IntegerMatrix>(*w->matrix, 0, outputs, std::span<const float>{}, pool)};
  EXPECT_THROW(
      test::run_integer(integer_linear_op, watched, {fixed_rows(test::normal(rows * cols, 1), cols)}, a),
      Error);
}

// --- look-ups

std::shared_ptr<const IntegerTable> table(const char* name, int64_t count, uint64_t seed, bool codes) {
  auto t = std::make_shared<IntegerTable>();
  t->name = name;
  t->rows = count;
  t->cols = cols;
  Rng rng(seed);
  if (codes) {
    const auto w = test::weight(name, {count, cols}, test::gaussian(count * cols, seed), "int8:g32");
    t->weight = w;
    t->codes = WholeCodes::of(w->matrix->tensor());
    std::vector<float> scales(3);
    for (int64_t r = 0; r < count; ++r) {
      t->codes->read_scales(r, scales.data());
      const FixedVector f = to_fixed(std::vector<double>(scales.begin(), scales.end()), 22, name);
      t->scales.insert(t->scales.end(), f.mantissas.begin(), f.mantissas.end());
      t->exponents.push_back(f.exponent);
    }
    return t;
  }
  for (int64_t i = 0; i < count * cols; ++i)
    t->values.push_back(static_cast<int16_t>(rng.below(60000) - 30000));
  for (int64_t r = 0; r < count; ++r) t->exponents.push_back(static_cast<int32_t>(-15 - r));
  return t;
}

TEST_F(IntegerProducts, LookUpsAddTheRowsOfTheirTables) {
  const IntegerEmbedding a{table("tokens", 5, 1, true), table("positions", 9, 2, false),
                           table("types", 2, 3, false), 2};
  const std::vector<int32_t> ids{4, 0, 3}, types{1, 0, 1};
  const SequenceRows fourth{0, static_cast<int64_t>(ids.size()), 4, 8, {}};
  RunContext at{pool, ids, types, {&fourth, 1}, {}, {}};
  const auto y = test::run_integer(integer_embedding_op, at, {}, a).values();
  const auto weights = decoded(*a.tokens->weight->matrix);
  const auto value = [&](const IntegerTable& t, int64_t row, int64_t c) {
    return std::ldexp(t.values[static_cast<size_t>(row * cols + c)], t.exponents[static_cast<size_t>(row)]);
  };
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < cols; ++c) {
      const double expected = weights[static_cast<size_t>(ids[static_cast<size_t>(i)] * cols + c)] +
                              value(*a.positions, 4 + i + 2, c) +
                              value(*a.types, types[static_cast<size_t>(i)], c);
      ASSERT_NEAR(y[static_cast<size_t>(i * cols + c)], expected, 1e-5);  // 22 bits of scales up to 4
    }
  }
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{5, 0, 0}, std::vector<int32_t>{-1, 0, 0}}) {
    const SequenceRows first{0, static_cast<int64_t>(bad.size()), 0, 8, {}};
    RunContext out{pool, bad, {}, {&first, 1}, {}, {}};
    EXPECT_THROW(test::run_integer(integer_embedding_op, out, {}, a), Error);
  }
  const SequenceRows fifth{0, static_cast<int64_t>(ids.size()), 5, 8, {}};
  RunContext late{pool, ids, {}, {&fifth, 1}, {}, {}};
  EXPECT_THROW(test::run_integer(integer_embedding_op, late, {}, a), Error) << "position 9";
}

// --- experts

TEST_F(IntegerProducts, ExpertsAreChosenAndMixed) {
  constexpr int64_t experts = 20, inner = 24;
  const auto matrix = [&](int64_t out, int64_t in, uint64_t seed, double scale) {
    return test::weight("w", {out, in}, test::gaussian(out * in, seed, scale), "int8:channel");
  };
  std::vector<std::shared_ptr<const Weight>> gate, up, down;
  for (uint64_t e = 0; e < experts; ++e) {
    gate.push_back(matrix(inner, cols, 10 + e, 0.1));
    up.push_back(matrix(inner, cols, 40 + e, 0.1));
    down.push_back(matrix(cols, inner, 70 + e, 0.2));
  }
  const FixedRows in = fixed_rows(test::normal(rows * cols, 9), cols, 26);
  const auto x = in.values();
  const auto apply = [](const Weight& w, const double* v, int64_t width) {
    const auto m = decoded(*w.matrix);
    std::vector<double> out;
    for (size_t r = 0; r < m.size(); r += static_cast<size_t>(width)) {
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) sum += m[r + static_cast<size_t>(c)] * v[c];
      out.push_back(sum);
    }
    return out;
  };
  const auto ordered = [](const std::vector<double>& scores) {
    std::vector<size_t> order(scores.size());
    for (size_t e = 0; e < order.size(); ++e) order[e] = e;
    std::sort(order.begin(), order.end(), [&](size_t l, size_t r) { return scores[l] > scores[r]; });
    return order;
  };
  // A router that is sure enough for rounding not to choose otherwise.
  std::shared_ptr<const Weight> router;
  const auto sure = [&] {
    for (int64_t i = 0; i < rows; ++i) {
      const auto scores = apply(*router, x.data() + i * cols, cols);
      const auto order = ordered(scores);
      if (scores[order[2]] - scores[order[3]] < 0.2) return false;
    }
    return true;
  };
  for (uint64_t seed = 100; router == nullptr || !sure(); ++seed) {
    ASSERT_LT(seed, 10000u);
    router = matrix(experts, cols, seed, 0.3);
  }
  for (const bool renormalize : {true, false}) {
    const auto attributes = [&] {
      const auto made = [&](const std::shared_ptr<const Weight>& w) {
        return std::make_shared<IntegerMatrix>(*w->matrix, 0, w->matrix->rows(), std::span<const float>{},
                                               pool);
      };
      IntegerMoe a;
      a.used = 3;
      a.renormalize = renormalize;
      a.router = made(router);
      for (size_t e = 0; e < experts; ++e) {
        a.gate.push_back(made(gate[e]));
        a.up.push_back(made(up[e]));
        a.down.push_back(made(down[e]));
      }
      return a;
    };
    const auto y = test::run_integer_made(integer_moe_op, context, {in}, attributes).values();
    std::vector<double> truth(x.size());
    for (int64_t i = 0; i < rows; ++i) {
      const auto scores = apply(*router, x.data() + i * cols, cols);
      const auto order = ordered(scores);
      double total = 0;
      for (size_t u = 0; u < (renormalize ? 3u : size_t{experts}); ++u) total += std::exp(scores[order[u]]);
      for (size_t u = 0; u < 3; ++u) {
        auto g = apply(*gate[order[u]], x.data() + i * cols, cols);
        const auto v = apply(*up[order[u]], x.data() + i * cols, cols);
        for (size_t k = 0; k < g.size(); ++k) g[k] = g[k] / (1 + std::exp(-g[k])) * v[k];
        const auto part = apply(*down[order[u]], g.data(), inner);
        for (size_t c = 0; c < part.size(); ++c)
          truth[static_cast<size_t>(i * cols) + c] += std::exp(scores[order[u]]) / total * part[c];
      }
    }
    // Three products one behind the other, each of inputs of 8 bits, and weights that scores of 8 bits move.
    EXPECT_LT(test::distance(y, truth), 0.04 * test::largest(truth)) << renormalize;
    EXPECT_GT(test::largest(truth), 0.1);
  }
}

}  // namespace
}  // namespace nibble
