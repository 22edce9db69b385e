#include "model/rewrites/residuals.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/small_model.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/run_op.h"

namespace nibble {
namespace {

using test::gaussian;
using test::llama_like;
using test::random_weights;
using test::small_hparams;

int64_t count(const Program& program, const Op& op) {
  return std::count_if(program.nodes.begin(), program.nodes.end(),
                       [&](const Node& node) { return node.op == &op; });
}

TEST(Residuals, EveryNormOfADecoderTakesOverTheAdditionBeforeIt) {
  const Hparams h = small_hparams();
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  EXPECT_EQ(count(program, add_op), 0);
  EXPECT_EQ(count(program, norm_op), 2 * h.layers + 1);
  for (const Node& node : program.nodes) {
    if (node.op != &norm_op) continue;
    // The first norm reads the embedding, and after the last one nobody reads the stream.
    EXPECT_EQ(node.in.size(), node.name == "blk.0.attn_norm" ? 1u : 2u) << node.name;
    const bool alone = node.name == "blk.0.attn_norm" || node.name == "output_norm";
    EXPECT_EQ(node.out.size(), alone ? 1u : 2u) << node.name;
  }
  // Nobody in a layer reads what it ends with.
  BuildOptions one;
  one.part = ProgramPart::only_layer(0);
  EXPECT_EQ(count(build_program(llama_like(), h, random_weights(h), pool, one), add_op), 1);
}

TEST(Residuals, NormsBehindAdditionsKeepNoSum) {
  Arch arch = llama_like();
  arch.layer = {AttentionStep{.from = Reg::x}, AddStep{}, NormStep{.weight = "attn_norm", .to = Reg::x},
                MlpStep{.from = Reg::x},       AddStep{}, NormStep{.weight = "ffn_norm", .to = Reg::x}};
  const Hparams h = small_hparams();
  ThreadPool pool(2);
  const Program program = build_program(arch, h, random_weights(h), pool);
  EXPECT_EQ(count(program, add_op), 0);
  for (const Node& node : program.nodes) {
    if (node.op != &norm_op) continue;
    EXPECT_EQ(node.out.size(), 1u) << node.name;
  }
}

TEST(Residuals, TheSumAndItsNormHaveTheBitsOfTwoOperations) {
  ThreadPool pool(3);
  const int64_t rows = 1000, cols = 53;  // several ranges
  const auto a = gaussian(rows * cols, 1, 3), b = gaussian(rows * cols, 2);
  const std::vector<int32_t> tokens(static_cast<size_t>(rows));
  RunContext context{pool, tokens, {}, {}, {}, {}};
  const auto gain = test::weight("w", {cols}, gaussian(cols, 3));
  for (const bool center : {false, true}) {
    const NormAttributes attributes{center, 1e-5, cols};
    const auto sum = test::run_op(add_op, context, {{a, cols}, {b, cols}}, {}, {});
    const auto want = test::run_op(norm_op, context, {{sum, cols}}, {gain}, attributes);
    EXPECT_EQ(test::run_op(norm_op, context, {{a, cols}, {b, cols}}, {gain}, attributes), want);
    // Both results; the sum where the first input stood.
    std::vector<float> x = a, y = b, normed(x.size());
    const Node node{&norm_op, "node", {0, 1}, {0, 2}, {gain}, attributes};
    const std::vector<Value> in{{x.data(), rows, cols}, {y.data(), rows, cols}};
    const std::vector<Value> out{in[0], {normed.data(), rows, cols}};
    norm_op.forward(node, context, in, out);
    EXPECT_EQ(x, sum);
    EXPECT_EQ(normed, want);
  }
}

}  // namespace
}  // namespace nibble
