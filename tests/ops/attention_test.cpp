#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/rotation.h"
#include "ops/run_op.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;
using test::KeepLevel;

/// One layer's cache in plain memory.
struct Cache {
  std::vector<std::byte> k, v;
  KvLayer layer;
  Cache(std::string_view words, int64_t heads, int64_t dim, int64_t rows) {
    const KvStorages s = KvStorages::parse(words);
    layer = {s.k, s.v, nullptr, nullptr, heads, dim, rows};
    const auto room = [&](const KvFormat& f) {
      return static_cast<size_t>(heads * kv_pages(rows) * f.page_bytes(dim)) + kv_slack;
    };
    // What no token wrote must not count.
    k.resize(room(*s.k.format), std::byte{0xff});
    v.resize(room(*s.v.format), std::byte{0xff});
    layer.keys = k.data();
    layer.values = v.data();
  }
  /// What stands there, rotated back: keys or values, [rows, heads * dim].
  std::vector<float> stored(bool keys, int64_t rows) const {
    std::vector<float> all(static_cast<size_t>(rows * layer.heads * layer.dim));
    const KvStorage& how = keys ? layer.k : layer.v;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t head = 0; head < layer.heads; ++head) {
        const std::byte* page =
            keys ? layer.key_page(row / kv_page, head) : layer.value_page(row / kv_page, head);
        std::vector<float> read(static_cast<size_t>((row % kv_page + 1) * layer.dim));
        (keys ? how.format->keys : how.format->values)(page, row % kv_page + 1, layer.dim, read.data());
        float* x = read.data() + row % kv_page * layer.dim;
        if (how.rotated) fixed_rotation(layer.dim).turn_back(x);
        std::copy_n(x, layer.dim, all.data() + (row * layer.heads + head) * layer.dim);
      }
    }
    return all;
  }
};

/// Rows [first, first + rows) of a sequence through the operation.
std::vector<float> attend(const AttentionAttributes& a, Cache& cache, ThreadPool& pool,
                          const std::vector<float>& q, const std::vector<float>& k,
                          const std::vector<float>& v, int64_t first, int64_t rows) {
  const std::vector<int32_t> tokens(static_cast<size_t>(rows));
  const SequenceRows sequence{0, rows, first, cache.layer.capacity, {&cache.layer, 1}};
  RunContext context{pool, tokens, {}, {&sequence, 1}, {}, {}};
  const auto part = [&](const std::vector<float>& x, int64_t width) {
    return test::Input{{x.begin() + first * width, x.begin() + (first + rows) * width}, width};
  };
  const int64_t cols = a.kv_heads * a.head_dim;
  return test::run_op(attention_op, context, {part(q, a.heads * a.head_dim), part(k, cols), part(v, cols)},
                      {}, a);
}

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
  const char* kv;
};

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, EqualsBruteForce) {
  const Case c = GetParam();
  const AttentionAttributes a{0, c.heads, c.kv_heads, c.dim, 0.3f, c.softcap, c.window, c.causal};
  const int64_t total = c.before + c.rows, cols = c.kv_heads * c.dim;
  const auto q = gaussian(total * c.heads * c.dim, 1);
  const auto k = gaussian(total * cols, 2), v = gaussian(total * cols, 3);
  ThreadPool pool(2);
  Cache cache(c.kv, c.kv_heads, c.dim, total);
  const auto run = [&](int64_t first, int64_t rows) { return attend(a, cache, pool, q, k, v, first, rows); };
  if (c.before > 0) run(0, c.before);
  const auto y = run(c.before, c.rows);
  const auto want = brute_force(a, {q.begin() + c.before * c.heads * c.dim, q.end()},
                                cache.stored(true, total), cache.stored(false, total), c.rows, c.before);
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

// Queries of 8 bits are wrong by up to 1/254 of the largest of 32, which moves a score by about its fifth
// part of a percent of |q| |k|; bf16 keeps 8 bits of every factor: 2^-9 of itself. Either moves a score of
// magnitude s by up to s 2^-8 and the weights, which sum to one, by as much.
TEST(FastAttention, StaysNearBruteForceAtEveryLevel) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const Case& c :
       {Case{8, 1, 64, 0, 1, 0, 0, true, "f16"}, Case{8, 2, 64, 100, 1, 0, 0, true, "q8_0"},
        Case{8, 1, 64, 37, 40, 0, 0, true, "f16"}, Case{2, 2, 32, 200, 5, 13, 0, true, "q4_0"},
        Case{6, 2, 96, 0, 70, 0, 0, false, "k=q8_0,v=q4_0"}, Case{6, 2, 96, 0, 70, 9, 0, false, "f16"},
        Case{1, 1, 128, 300, 100, 64, 0, true, "q8_0"}, Case{2, 1, 256, 0, 30, 0, 0, true, "f16"},
        Case{4, 2, 40, 0, 30, 0, 0, true, "q4_0:plain"}, Case{4, 2, 32, 0, 30, 0, 5, true, "f16"},
        Case{3, 1, 20, 0, 90, 0, 5, true, "k=f16,v=q8_0:rotated"}, Case{2, 2, 80, 64, 65, 0, 0, true, "f32"},
        // More queries, more keys than one task takes, also of a window that begins in the middle.
        Case{2, 2, 64, 90, 300, 0, 0, true, "f16"}, Case{1, 1, 32, 0, 260, 70, 0, false, "f16"},
        Case{2, 2, 64, 90, 300, 0, 0, true, "q8_0"}, Case{2, 1, 96, 30, 70, 0, 0, false, "k=q4_0,v=q8_0"},
        Case{2, 2, 64, 90, 100, 0, 0, true, "q4_0"}, Case{4, 1, 32, 70, 40, 0, 0, true, "k=f16,v=q4_0"},
        Case{4, 2, 64, 2500, 1, 0, 0, true, "f16"}, Case{4, 2, 64, 2500, 3, 0, 0, true, "q8_0"},
        Case{4, 4, 64, 2500, 1, 1200, 0, true, "q4_0"}, Case{4, 2, 24, 1023, 2, 0, 0, true, "q8_0"}}) {
    AttentionAttributes a{0, c.heads, c.kv_heads, c.dim, 0.1f, c.softcap, c.window, c.causal};
    a.precision = Precision::fast;
    const int64_t total = c.before + c.rows, cols = c.kv_heads * c.dim;
    const auto q = gaussian(total * c.heads * c.dim, 1);
    const auto k = gaussian(total * cols, 2), v = gaussian(total * cols, 3);
    std::vector<double> want;
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      Cache cache(c.kv, c.kv_heads, c.dim, total);
      if (c.before > 0) attend(a, cache, pool, q, k, v, 0, c.before);
      const auto y = attend(a, cache, pool, q, k, v, c.before, c.rows);
      if (want.empty())
        want = brute_force(a, {q.begin() + c.before * c.heads * c.dim, q.end()}, cache.stored(true, total),
                           cache.stored(false, total), c.rows, c.before);
      ASSERT_EQ(y.size(), want.size());
      const double score = 0.1 * 5 * std::sqrt(static_cast<double>(c.dim));  // five sigma
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], want[i], (score + 1) * 0x1p-8 * 4)
            << isa_name(level) << " " << c.kv << " dim " << c.dim << " at " << i;
      // The number of threads changes no bit.
      for (const int threads : {1, 5}) {
        ThreadPool other(threads);
        EXPECT_EQ(attend(a, cache, other, q, k, v, c.before, c.rows), y) << isa_name(level) << " " << c.kv;
      }
    }
  }
}

// Without rounded queries all that is left are sums in f32 and an exponential that is good to 3e-7.
TEST(FastAttention, HalfPrecisionIsAsGoodAsF32) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    // Neither goes by tiles of bf16: one has few queries, the other a soft cap.
    for (const Case& c :
         {Case{4, 2, 64, 1500, 1, 0, 0, true, "f16"}, Case{4, 2, 20, 0, 150, 31, 7, true, "f16"}}) {
      AttentionAttributes a{0, c.heads, c.kv_heads, c.dim, 0.1f, c.softcap, c.window, c.causal};
      a.precision = Precision::fast;
      const int64_t total = c.before + c.rows, cols = c.kv_heads * c.dim;
      const auto q = gaussian(total * c.heads * c.dim, 1);
      const auto k = gaussian(total * cols, 2), v = gaussian(total * cols, 3);
      Cache cache(c.kv, c.kv_heads, c.dim, total);
      if (c.before > 0) attend(a, cache, pool, q, k, v, 0, c.before);
      const auto y = attend(a, cache, pool, q, k, v, c.before, c.rows);
      const auto want = brute_force(a, {q.begin() + c.before * c.heads * c.dim, q.end()},
                                    cache.stored(true, total), cache.stored(false, total), c.rows, c.before);
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], want[i], 5e-6) << isa_name(level) << " at " << i;
    }
  }
}

// Sequences of different lengths in one batch: each gets what it gets alone.
TEST(Attention, SequencesInOneBatchDoNotSeeEachOther) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    for (const char* kv : {"f32", "f16", "q8_0", "q4_0"}) {
      AttentionAttributes a{0, 4, 2, 32, 0.2f};
      a.precision = precision;
      const std::vector<int64_t> lengths{70, 1, 1200}, rows{3, 1, 1};
      std::vector<Cache> caches;
      std::vector<float> q, k, v, want;
      std::vector<SequenceRows> sequences;
      int64_t first = 0;
      for (size_t i = 0; i < lengths.size(); ++i) caches.emplace_back(kv, 2, 32, lengths[i]);
      for (size_t i = 0; i < lengths.size(); ++i) {
        const int64_t before = lengths[i] - rows[i];
        const auto mine = [&](int64_t width, uint64_t seed) {
          return gaussian(lengths[i] * width, seed + i);
        };
        const auto qi = mine(128, 1), ki = mine(64, 11), vi = mine(64, 21);
        if (before > 0) attend(a, caches[i], pool, qi, ki, vi, 0, before);
        const auto alone = attend(a, caches[i], pool, qi, ki, vi, before, rows[i]);
        want.insert(want.end(), alone.begin(), alone.end());
        q.insert(q.end(), qi.begin() + before * 128, qi.end());
        k.insert(k.end(), ki.begin() + before * 64, ki.end());
        v.insert(v.end(), vi.begin() + before * 64, vi.end());
        sequences.push_back({first, rows[i], before, lengths[i], {&caches[i].layer, 1}});
        first += rows[i];
      }
      const std::vector<int32_t> tokens(static_cast<size_t>(first));
      RunContext context{pool, tokens, {}, sequences, {}, {}};
      EXPECT_EQ(test::run_op(attention_op, context, {{q, 128}, {k, 64}, {v, 64}}, {}, a), want) << kv;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Attention,
    testing::Values(Case{1, 1, 4, 0, 1, 0, 0, true, "f32"}, Case{4, 2, 8, 0, 150, 0, 0, true, "f32"},
                    Case{8, 1, 16, 70, 5, 0, 0, true, "f32"}, Case{4, 4, 20, 64, 64, 0, 0, true, "f16"},
                    Case{4, 2, 8, 0, 200, 13, 0, true, "f32"}, Case{4, 2, 8, 0, 140, 64, 0, true, "f16"},
                    Case{4, 2, 8, 100, 1, 7, 0, true, "f32"}, Case{4, 2, 8, 0, 90, 0, 5, true, "f32"},
                    Case{6, 3, 12, 0, 130, 0, 0, false, "f32"}, Case{6, 3, 12, 0, 130, 9, 0, false, "f32"},
                    Case{4, 2, 40, 10, 100, 0, 0, true, "q8_0"}, Case{4, 2, 24, 0, 100, 13, 0, true, "q4_0"},
                    Case{2, 2, 8, 0, 70, 0, 0, true, "k=q4_0:plain,v=q8_0"}));

}  // namespace
}  // namespace nibble
