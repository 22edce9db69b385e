#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/half.h"
#include "ops/run_op.h"

namespace nibble {
namespace {

using test::gaussian;

/// One layer's cache in plain memory.
struct Cache {
  std::vector<std::byte> k, v;
  KvLayer layer;
  Cache(DType type, int64_t cols, int64_t rows)
      : k(size_t(cols * rows) * dtype_size(type)), v(k.size()), layer{type, k.data(), v.data(), cols, rows} {}
};

/// Attention with every score at once and an explicit mask, in double.
std::vector<double> brute_force(const AttentionAttributes& a, const std::vector<float>& q,
                                const std::vector<float>& k, const std::vector<float>& v, int64_t rows,
                                int64_t position) {
  const int64_t total = position + rows, d = a.head_dim;
  std::vector<double> out;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t kh = h / (a.heads / a.kv_heads);
      std::vector<double> p(size_t(total), 0.0);
      double sum = 0;
      for (int64_t t = 0; t < total; ++t) {
        const int64_t at = position + i;
        const bool seen = (!a.causal || t <= at) && (a.window == 0 || std::abs(at - t) < a.window);
        if (!seen) continue;
        double s = 0;
        for (int64_t c = 0; c < d; ++c)
          s += double(q[size_t((i * a.heads + h) * d + c)]) * k[size_t((t * a.kv_heads + kh) * d + c)];
        s *= a.scale;
        if (a.softcap != 0) s = a.softcap * std::tanh(s / a.softcap);
        sum += p[size_t(t)] = std::exp(s);
      }
      for (int64_t c = 0; c < d; ++c) {
        double y = 0;
        for (int64_t t = 0; t < total; ++t)
          y += p[size_t(t)] / sum * v[size_t((t * a.kv_heads + kh) * d + c)];
        out.push_back(y);
      }
    }
  }
  return out;
}

struct Case {
  int64_t heads, kv_heads, dim, before, rows, window;
  float softcap;
  bool causal;
  DType type;
};

/// Restores the level on leaving.
struct KeepLevel {
  IsaLevel level = isa_level();
  ~KeepLevel() { set_isa_level(level); }
};

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, EqualsBruteForce) {
  const Case c = GetParam();
  const AttentionAttributes a{0, c.heads, c.kv_heads, c.dim, 0.3f, c.softcap, c.window, c.causal};
  const int64_t total = c.before + c.rows, cols = c.kv_heads * c.dim;
  const auto q = gaussian(total * c.heads * c.dim, 1);
  auto k = gaussian(total * cols, 2), v = gaussian(total * cols, 3);
  if (c.type == DType::f16) {
    for (auto* x : {&k, &v}) {
      for (float& f : *x) f = f16_to_f32(f32_to_f16(f));
    }
  }
  ThreadPool pool(2);
  Cache cache(c.type, cols, total);
  const auto run = [&](int64_t first, int64_t rows) {
    const std::vector<int32_t> tokens(static_cast<size_t>(rows));
    RunContext context{pool, tokens, {}, first, total, {}, {&cache.layer, 1}, {}};
    const auto part = [&](const std::vector<float>& x, int64_t width) {
      return test::Input{{x.begin() + first * width, x.begin() + (first + rows) * width}, width};
    };
    return test::run_op(attention_op, context, {part(q, c.heads * c.dim), part(k, cols), part(v, cols)}, {},
                        a);
  };
  if (c.before > 0) run(0, c.before);
  const auto y = run(c.before, c.rows);
  const auto want = brute_force(a, {q.begin() + c.before * c.heads * c.dim, q.end()}, k, v, c.rows, c.before);
  ASSERT_EQ(y.size(), want.size());
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], want[i], 2e-6) << "at " << i;
  if (!c.causal || c.before > 0) return;
  // The same tokens one by one, and in odd batches: the same bits.
  for (const int64_t step : {int64_t{1}, int64_t{29}}) {
    std::vector<float> again;
    for (int64_t first = 0; first < total; first += step) {
      const auto part = run(first, std::min(step, total - first));
      again.insert(again.end(), part.begin(), part.end());
    }
    EXPECT_EQ(again, y) << "in batches of " << step;
  }
}

// bf16 keeps 8 bits: each factor is wrong by at most 2^-9 of itself. That moves a score of magnitude s by up
// to s 2^-8 and the weights, which sum to one, by as much.
TEST(FastAttention, StaysNearBruteForceAtEveryLevel) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const Case& c :
       {Case{8, 1, 64, 0, 1, 0, 0, true, DType::f16}, Case{8, 2, 64, 100, 1, 0, 0, true, DType::f16},
        Case{8, 1, 64, 37, 40, 0, 0, true, DType::f16}, Case{2, 2, 32, 200, 5, 13, 0, true, DType::f32},
        Case{6, 2, 96, 0, 70, 0, 0, false, DType::f32}, Case{6, 2, 96, 0, 70, 9, 0, false, DType::f16},
        Case{1, 1, 128, 300, 100, 64, 0, true, DType::f32}, Case{2, 1, 256, 0, 30, 0, 0, true, DType::f16},
        Case{4, 2, 40, 0, 30, 0, 0, true, DType::f16}, Case{4, 2, 32, 0, 30, 0, 5, true, DType::f16}}) {
    AttentionAttributes a{0, c.heads, c.kv_heads, c.dim, 0.1f, c.softcap, c.window, c.causal};
    a.precision = Precision::fast;
    const int64_t total = c.before + c.rows, cols = c.kv_heads * c.dim;
    const auto q = gaussian(total * c.heads * c.dim, 1);
    const auto k = gaussian(total * cols, 2), v = gaussian(total * cols, 3);
    const auto want =
        brute_force(a, {q.begin() + c.before * c.heads * c.dim, q.end()}, k, v, c.rows, c.before);
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      Cache cache(c.type, cols, total);
      const auto run = [&](int64_t first, int64_t rows) {
        const std::vector<int32_t> tokens(static_cast<size_t>(rows));
        RunContext context{pool, tokens, {}, first, total, {}, {&cache.layer, 1}, {}};
        const auto part = [&](const std::vector<float>& x, int64_t width) {
          return test::Input{{x.begin() + first * width, x.begin() + (first + rows) * width}, width};
        };
        return test::run_op(attention_op, context, {part(q, c.heads * c.dim), part(k, cols), part(v, cols)},
                            {}, a);
      };
      if (c.before > 0) run(0, c.before);
      const auto y = run(c.before, c.rows);
      ASSERT_EQ(y.size(), want.size());
      const double score = 0.1 * 5 * std::sqrt(static_cast<double>(c.dim));  // five sigma
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], want[i], (score + 1) * 0x1p-8 * 4)
            << isa_name(level) << " dim " << c.dim << " at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Attention,
                         testing::Values(Case{1, 1, 4, 0, 1, 0, 0, true, DType::f32},
                                         Case{4, 2, 8, 0, 150, 0, 0, true, DType::f32},
                                         Case{8, 1, 16, 70, 5, 0, 0, true, DType::f32},
                                         Case{4, 4, 20, 64, 64, 0, 0, true, DType::f16},
                                         Case{4, 2, 8, 0, 200, 13, 0, true, DType::f32},
                                         Case{4, 2, 8, 0, 140, 64, 0, true, DType::f16},
                                         Case{4, 2, 8, 100, 1, 7, 0, true, DType::f32},
                                         Case{4, 2, 8, 0, 90, 0, 5, true, DType::f32},
                                         Case{6, 3, 12, 0, 130, 0, 0, false, DType::f32},
                                         Case{6, 3, 12, 0, 130, 9, 0, false, DType::f32}));

}  // namespace
}  // namespace nibble
