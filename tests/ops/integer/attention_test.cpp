#include "ops/integer/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numbers>

#include "fixed_rows.h"

namespace nibble {
namespace {

struct Case {
  const char* name;
  int64_t heads, kv_heads, dim, window;
  bool causal;
  double softcap, size;
  double offset = 0;  ///< added to the first entry of every query and key: moves all scores alike
};

constexpr int64_t rows = 45;

IntegerAttention attributes(const Case& c, double scale) {
  IntegerAttention a;
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.dim;
  a.window = c.window;
  a.causal = c.causal;
  a.scale = to_dyadic(scale * std::numbers::log2e, "scale");
  if (c.softcap != 0) {
    a.turn = to_dyadic(2 * scale * std::numbers::log2e / c.softcap, "turn");
    a.cap = static_cast<int32_t>(c.softcap * std::numbers::log2e * 65536);
  }
  return a;
}

/// Softmax over what is seen, in double precision.
std::vector<double> reference(const Case& c, double scale, const std::vector<double>& q,
                              const std::vector<double>& k, const std::vector<double>& v) {
  const int64_t group = c.heads / c.kv_heads;
  std::vector<double> y(q.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = 0; h < c.heads; ++h) {
      std::vector<double> weight(rows, -INFINITY);
      for (int64_t t = 0; t < rows; ++t) {
        if (c.causal && t > i) continue;
        if (c.window > 0 && (t <= i - c.window || t >= i + c.window)) continue;
        double s = 0;
        for (int64_t d = 0; d < c.dim; ++d)
          s += q[static_cast<size_t>((i * c.heads + h) * c.dim + d)] *
               k[static_cast<size_t>((t * c.kv_heads + h / group) * c.dim + d)];
        s *= scale;
        weight[static_cast<size_t>(t)] = c.softcap != 0 ? c.softcap * std::tanh(s / c.softcap) : s;
      }
      const double most = *std::max_element(weight.begin(), weight.end());
      double total = 0;
      for (double& w : weight) total += w = std::exp(w - most);
      for (int64_t d = 0; d < c.dim; ++d) {
        double sum = 0;
        for (int64_t t = 0; t < rows; ++t)
          sum += weight[static_cast<size_t>(t)] *
                 v[static_cast<size_t>((t * c.kv_heads + h / group) * c.dim + d)];
        y[static_cast<size_t>((i * c.heads + h) * c.dim + d)] = sum / total;
      }
    }
  }
  return y;
}

class IntegerAttentionTest : public testing::TestWithParam<Case> {};

TEST_P(IntegerAttentionTest, IsNearDoublePrecisionHoweverTheSequenceIsCut) {
  const Case& c = GetParam();
  const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
  const IntegerAttention a = attributes(c, scale);
  auto q = test::normal(rows * c.heads * c.dim, 1, c.size);
  auto k = test::normal(rows * c.kv_heads * c.dim, 2, c.size);
  const double large_q = test::largest(q), large_k = test::largest(k);
  for (auto* x : {&q, &k}) {
    for (size_t at = 0; at < x->size() && c.offset != 0; at += static_cast<size_t>(c.dim))
      (*x)[at] = c.offset;
  }
  auto v = test::normal(rows * c.kv_heads * c.dim, 3);
  // Values of very different sizes: the first position's are tiny, one later is large.
  for (int64_t d = 0; d < c.kv_heads * c.dim; ++d) {
    v[static_cast<size_t>(d)] *= 1e-4;
    v[static_cast<size_t>(17 * c.kv_heads * c.dim + d)] *= 9;
  }
  const test::FixedRows q_rows = test::fixed_rows(q, c.heads * c.dim, 20);
  const test::FixedRows k_rows = test::fixed_rows(k, c.kv_heads * c.dim, 24);
  const test::FixedRows v_rows = test::fixed_rows(v, c.kv_heads * c.dim);
  const auto part = [](const test::FixedRows& all, int64_t first, int64_t n) {
    return test::FixedRows{
        all.cols,
        {all.mantissas.begin() + first * all.cols, all.mantissas.begin() + (first + n) * all.cols},
        {all.exponents.begin() + first, all.exponents.begin() + first + n}};
  };
  std::vector<double> whole;
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    for (const int64_t step : {rows, int64_t{1}, int64_t{7}}) {
      if (!c.causal && step != rows) continue;  // an encoder sees a sequence at once
      const int64_t room = kv_page, cols = c.kv_heads * c.dim + c.kv_heads;
      std::vector<int16_t> keys(static_cast<size_t>(room * cols)), values(keys.size());
      const KvStorage storage{&integer_kv_format, false};
      const KvLayer kv{storage,
                       storage,
                       reinterpret_cast<std::byte*>(keys.data()),
                       reinterpret_cast<std::byte*>(values.data()),
                       c.kv_heads,
                       c.dim,
                       room};
      std::vector<double> y;
      for (int64_t first = 0; first < rows; first += step) {
        const int64_t n = std::min(step, rows - first);
        const std::vector<int32_t> tokens(static_cast<size_t>(n));
        const SequenceRows sequence{0, n, first, room, {&kv, 1}};
        RunContext context{pool, tokens, {}, {&sequence, 1}, {}, {}};
        const auto out =
            test::run_integer(integer_attention_op, context,
                              {part(q_rows, first, n), part(k_rows, first, n), part(v_rows, first, n)}, a)
                .values();
        y.insert(y.end(), out.begin(), out.end());
      }
      if (whole.empty()) whole = y;
      EXPECT_EQ(y, whole) << threads << " threads, steps of " << step;
    }
  }
  const auto exact = reference(c, scale, q, k, v);
  // Queries and keys are rounded to 2^-bits of their largest entry, values to 2^-10 / 2, weights to 2^-15 / 2
  // of the largest: a score moves by the first, an output by all.
  const double bits = c.dim <= 64 ? 12 : 11;
  const double large_v = test::largest(v);
  const double large = std::max(large_q, c.offset) * large_k + std::max(large_k, c.offset) * large_q;
  const double score =
      scale * std::ldexp(1, static_cast<int>(-bits)) * large / 2 * std::sqrt(static_cast<double>(c.dim));
  const double bound = large_v * (2 * score + std::ldexp(1, -11) + rows * std::ldexp(1, -16));
  EXPECT_LT(test::distance(whole, exact), bound);
  EXPECT_GT(test::largest(exact), 3 * bound) << "the bound says nothing";
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, IntegerAttentionTest,
    testing::Values(Case{"grouped", 4, 2, 64, 0, true, 0, 1}, Case{"small_heads", 4, 4, 6, 0, true, 0, 1},
                    Case{"large_heads", 2, 1, 128, 0, true, 0, 1}, Case{"window", 4, 2, 16, 9, true, 0, 1},
                    Case{"encoder", 3, 3, 32, 0, false, 0, 1},
                    Case{"encoder_window", 2, 2, 16, 5, false, 0, 1},
                    Case{"capped", 4, 2, 32, 0, true, 2.0, 1}, Case{"sharp", 4, 2, 64, 0, true, 0, 2.5},
                    Case{"outlier", 4, 2, 64, 0, true, 0, 1, 40}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(IntegerAttention, RefusesWhatDoesNotFit) {
  IntegerAttention a = attributes({"", 4, 2, 8, 0, true, 0, 1}, 1);
  const std::vector<Extent> in{{RowSet::all, 32, true}, {RowSet::all, 16, true}, {RowSet::all, 16, true}};
  Node node{&integer_attention_op, "node", {}, {}, {}, a};
  EXPECT_EQ(integer_attention_op.shape(node, in)[0], in[0]);
  a.head_dim = 7;
  node.attributes = a;
  EXPECT_THROW(integer_attention_op.shape(node, in), Error);
  a.head_dim = 8, a.kv_heads = 3;
  node.attributes = a;
  EXPECT_THROW(integer_attention_op.shape(node, in), Error);
}

}  // namespace
}  // namespace nibble
