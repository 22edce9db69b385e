// Precision::fast: what may change no bit of a product, and what a product may not touch.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "support/fast_weights.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::arranged;
using test::gaussian;
using test::KeepLevel;
using test::weights;

// Levels of AArch64 differ in how they come to exact sums of whole numbers, and add floats in one order.
TEST(FastMatmulBits, LevelsOfNeonGiveTheSameBits) {
  const KeepLevel keep;
  ThreadPool pool(1);
  int compared = 0;
  for (const char* word : {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                           "iq4_nl", "iq4_xs", "int4:g128", "nf4:b64", "f16", "bf16", "f32"}) {
    const Matrix rows = weights(word, {51, 768});
    for (const int64_t m : {1, 2, 3, 4, 7}) {
      const auto x = gaussian(m * 768, 7);
      std::vector<float> expected;
      for (const IsaLevel level : isa_levels()) {
        if (level < IsaLevel::neon) continue;
        set_isa_level(level);
        const Matrix w = arranged(rows);
        std::vector<float> y(static_cast<size_t>(51 * m));
        matmul(w, 0, 51, x.data(), m, y.data(), 51, pool);
        if (expected.empty()) expected = y;
        ASSERT_EQ(y, expected) << isa_name(level) << " " << word << " m " << m;
        ++compared;
      }
    }
  }
  if (compared == 0) GTEST_SKIP() << "no AArch64";
}

// Before the weights have been put into lanes each product makes copies of its own, of 64 rows or of a
// tile's.
TEST(FastMatmulBits, LanesMadeForAProductGiveTheSameBits) {
  const KeepLevel keep;
  ThreadPool pool(2);
  HugeMemory memory;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const CpuKernels& cpu = cpu_kernels();
    for (int i = 0; i < cpu.lane_count; ++i) {
      constexpr int64_t n = 355, first = 32, k = 768;
      Matrix not_yet = weights(cpu.lanes[i].format, {n + first, k});
      Matrix there = weights(cpu.lanes[i].format, {n + first, k});
      ASSERT_TRUE(not_yet.use_lanes() && there.use_lanes()) << cpu.lanes[i].name;
      const Matrix copy = there;
      EXPECT_EQ(copy.lanes_at(0), nullptr);
      ASSERT_TRUE(there.arrange(memory, pool));
      EXPECT_EQ(not_yet.lanes_at(0), nullptr);
      EXPECT_NE(copy.lanes_at(0), nullptr) << "copies share what was arranged";
      for (const int64_t m : {1, 7, 40, 530}) {
        const auto x = gaussian(m * k, 4);
        std::vector<float> made(static_cast<size_t>(m * n)), stored(made.size());
        matmul(not_yet, first, n, x.data(), m, made.data(), n, pool);
        const std::string name = last_kernel();
        matmul(there, first, n, x.data(), m, stored.data(), n, pool);
        EXPECT_EQ(name, last_kernel());
        ASSERT_EQ(made, stored) << cpu.lanes[i].name << " m " << m;
      }
    }
  }
}

// In lanes and not, formats that go together and such that do not, an exact one; the result may stand where
// the gate stood.
TEST(FastMatmulBits, GatedProductsAreBothAndTheActivation) {
  const KeepLevel keep;
  constexpr int64_t k = 512, n = 290, stride = 304;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const auto& [one, other] : {std::pair{"q4_k", "q4_k"},
                                     {"q4_k", "q6_k"},
                                     {"q4_k", "q5_k"},
                                     {"f16", "f16"},
                                     {"q8_0", "f16"},
                                     {"f32", "f32"}}) {
      for (const int kind : {0, 1, 2}) {  // arranged, not arranged, exact
        Matrix gate = weights(one, {n, k}), up = weights(other, {n, k}, 2);
        if (kind == 0) {
          gate = arranged(gate);
          up = arranged(up);
        } else if (kind == 2) {
          up.set_precision(Precision::exact);
        }
        for (const int64_t m : {1, 5, 40, 530}) {
          const auto x = gaussian(m * k, 3);
          for (const int threads : {1, 3}) {
            ThreadPool pool(threads);
            const auto size = static_cast<size_t>(m * stride);
            std::vector<float> a(size), b(size), want(size), got(size), room(size);
            const MatmulPart parts[] = {{&gate, 0, n, a.data(), stride}, {&up, 0, n, b.data(), stride}};
            matmul(parts, x.data(), m, pool);
            for (int64_t i = 0; i < m; ++i)
              activate(ActivationKind::silu, &a[size_t(i * stride)], &b[size_t(i * stride)],
                       &want[size_t(i * stride)], n);
            gated_matmul({&gate, 0, n, got.data(), stride}, {&up, 0, n, room.data(), stride},
                         {ActivationKind::silu, got.data(), stride}, x.data(), m, pool);
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t j = 0; j < n; ++j)
                ASSERT_EQ(got[size_t(i * stride + j)], want[size_t(i * stride + j)])
                    << isa_name(level) << " " << one << " " << other << " " << kind << " m " << m << " " << i
                    << " " << j;
            }
          }
        }
      }
    }
  }
}

// Formats whose activations are rounded alike and not, floats, an exact one, slices that begin anywhere.
TEST(FastMatmulBits, PartsTogetherAreWhatTheyAreAlone) {
  const KeepLevel keep;
  constexpr int64_t k = 512;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    std::vector<Matrix> all;
    for (const char* word : {"q4_k", "q5_k", "q6_k", "f16", "q4_k", "q8_0"})
      all.push_back(arranged(weights(word, {200, k}, all.size() + 1)));
    all[4].set_precision(Precision::exact);
    all.push_back(weights("q4_k", {200, k}, 9));  // not arranged
    for (const int64_t m : {1, 3, 40}) {
      const auto x = gaussian(m * k, 3);
      for (const int threads : {1, 3}) {
        ThreadPool pool(threads);
        std::vector<std::vector<float>> got, want;
        std::vector<MatmulPart> parts;
        for (size_t i = 0; i < all.size(); ++i) {
          const int64_t first = i % 2 == 0 ? 0 : 32 + static_cast<int64_t>(i),
                        n = 70 + 5 * static_cast<int64_t>(i);
          got.emplace_back(static_cast<size_t>(m * n), NAN);
          want.emplace_back(static_cast<size_t>(m * n), NAN);
          parts.push_back({&all[i], first, n, got.back().data(), n});
          matmul(all[i], first, n, x.data(), m, want.back().data(), n, pool);
        }
        matmul(parts, x.data(), m, pool);
        for (size_t i = 0; i < all.size(); ++i)
          ASSERT_EQ(got[i], want[i]) << isa_name(level) << " " << all[i].word() << " m " << m;
      }
    }
  }
}

TEST(FastMatmulBits, NothingOutsideOfTheResultIsWritten) {
  ThreadPool pool(1);
  const Matrix rows = weights("q8_0", {5, 64});
  for (const Matrix& w : {rows, arranged(rows)}) {
    for (const int64_t m : {1, 3, 6, 18, 70}) {
      const auto x = gaussian(m * 64, 3);
      std::vector<float> y(static_cast<size_t>(9 * m), 7.0f);
      matmul(w, 0, 5, x.data(), m, y.data(), 9, pool);
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 5; j < 9; ++j) ASSERT_EQ(y[size_t(9 * i + j)], 7.0f) << m << " tokens";
      }
    }
  }
}

}  // namespace
}  // namespace nibble
