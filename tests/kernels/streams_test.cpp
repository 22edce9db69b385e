// How a stream of weights is asked for ahead changes its speed, and of its products no more than the order of
// roundings: a machine tries only its own way in other tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/matmul.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;
using test::KeepLevel;

// An odd number of groups of 16 rows, the last of them not full.
constexpr int64_t n = 4 * lane_rows + 5, k = 3 * unit_weights;

/// Activations as a line of the table takes them.
std::vector<std::byte> prepared(const LaneRow& row, const std::vector<float>& x, int64_t m) {
  std::vector<std::byte> out(static_cast<size_t>(m * (k / unit_weights) * row.x_bytes));
  row.round({x.data(), m, k, row.bias, out.data(), row.x_bytes, m * row.x_bytes});
  return out;
}

std::vector<float> product(const LaneRow& row, const std::byte* w, const std::vector<std::byte>& x, int64_t m,
                           Streams streams) {
  std::vector<float> y(static_cast<size_t>(m * n)), sums(static_cast<size_t>(m * most_lane_rows));
  row.product({w, n, k, x.data(), m, sums.data(), y.data(), n, streams});
  return y;
}

TEST(Streams, HoweverTheyAreReadProductsAreTheSame) {
  const KeepLevel keep;
  ThreadPool pool(2);
  int compared = 0;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const CpuKernels& cpu = cpu_kernels();
    for (int i = 0; i < cpu.lane_count; ++i) {
      const LaneRow& row = cpu.lanes[i];
      HugeMemory memory;
      Matrix w(encode_nearest(format_of(row.format), {n, k}, gaussian(n * k, 1, 0.1)), "w");
      w.set_precision(Precision::fast);
      ASSERT_TRUE(w.use_lanes() && w.arrange(memory, pool)) << row.name;
      std::vector<float> decoded(static_cast<size_t>(n * k));
      w.decode_rows(0, n, decoded.data(), k);
      double most = 0;
      for (const float v : decoded) most = std::max(most, std::fabs(double{v}));
      for (const int64_t m : {1, 2, 3, 4, 5, 8, 9, 13}) {
        const auto x = gaussian(m * k, 2);
        const auto units = prepared(row, x, m);
        const auto alone = product(row, w.lanes_at(0), units, m, Streams::alone);
        for (const Streams streams : {Streams::asked, Streams::asked_in_pairs}) {
          const auto asked = product(row, w.lanes_at(0), units, m, streams);
          for (int64_t t = 0; t < m; ++t) {
            double size = 0;
            for (int64_t c = 0; c < k; ++c) size += std::fabs(double{x[static_cast<size_t>(t * k + c)]});
            // Sums of at most k terms, none of them larger than this in all, in two orders.
            const double bound = 2 * static_cast<double>(k) * 0x1p-24 * 2 * most * size;
            for (int64_t r = 0; r < n; ++r) {
              const auto at = static_cast<size_t>(t * n + r);
              ASSERT_NEAR(asked[at], alone[at], bound) << row.name << " m " << m << " token " << t << " row "
                                                       << r << " streams " << static_cast<int>(streams);
              ++compared;
            }
          }
        }
      }
    }
  }
  if (compared == 0) GTEST_SKIP() << "no level with lanes";
}

TEST(Streams, ThoseOfThisMachineAreTheKernels) {
  const KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    if (cpu_kernels().lane_count == 0) continue;
    EXPECT_EQ(cpu_kernels().streams, isa_streams()) << isa_name(level);
    EXPECT_EQ(cpu_kernels().narrow_tokens > 0, isa_streams() != Streams::alone) << isa_name(level);
  }
}

}  // namespace
}  // namespace nibble
