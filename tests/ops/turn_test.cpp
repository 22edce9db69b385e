#include "ops/turn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/linear.h"
#include "ops/run_op.h"

namespace nibble {
namespace {

using test::gaussian;

TEST(Turn, AMatrixWithTurnedColumnsGivesWhatItGave) {
  ThreadPool pool(2);
  for (const int64_t cols : {1, 6, 48, 96, 1376}) {
    constexpr int64_t rows = 5, out = 7;
    std::vector<float> x = gaussian(rows * cols, 1), w = gaussian(out * cols, 2);
    const auto products = [&] {
      std::vector<double> y;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t o = 0; o < out; ++o) {
          double sum = 0;
          for (int64_t c = 0; c < cols; ++c)
            sum += double{x[static_cast<size_t>(r * cols + c)]} * w[static_cast<size_t>(o * cols + c)];
          y.push_back(sum);
        }
      }
      return y;
    };
    const std::vector<double> before = products();
    turn_runs({w.data(), out, cols}, cols, false, pool);
    const Node node{&turn_op, "blk.0.ffn_down input", {0}, {1}, {}, {}};
    RunContext run{pool, {}, {}, {}, {}, {}};
    std::vector<float> turned(x.size());
    const Value in{x.data(), rows, cols}, to{turned.data(), rows, cols};
    turn_op.forward(node, run, {&in, 1}, {&to, 1});
    EXPECT_TRUE(cols < 3 || turned != x);
    turn_op.forward(node, run, {&in, 1}, {&in, 1});  // where it stood
    EXPECT_EQ(turned, x);
    const std::vector<double> after = products();
    for (size_t i = 0; i < after.size(); ++i)
      ASSERT_NEAR(after[i], before[i], 1e-5 * std::sqrt(double(cols)) * 4) << cols;
  }
}

TEST(Turn, WidthsThatNoRotationHasAreRefused) {
  const Node node{&turn_op, "blk.0.ffn_down input", {0}, {1}, {}, {}};
  const Extent odd{RowSet::all, 5003}, even{RowSet::all, 5120};
  EXPECT_THROW(turn_op.shape(node, {&odd, 1}), Error);
  EXPECT_EQ(turn_op.shape(node, {&even, 1}).front().cols, 5120);
}

}  // namespace
}  // namespace nibble
