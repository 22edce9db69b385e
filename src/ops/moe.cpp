#include "ops/moe.h"

#include <algorithm>
#include <numeric>

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& a = node.attribute<MoeAttributes>();
  if (a.experts <= 0 || a.used <= 0 || a.used > a.experts)
    fail(ErrorKind::bad_input, "{} cannot use {} of {} experts", node.name, a.used, a.experts);
  expect_shape(node, node.weight(0), {a.experts, in[0].cols});
  expect_shape(node, node.weight(1), {a.experts, -1, in[0].cols});
  const int64_t inner = node.weight(1)->shape[1];
  expect_shape(node, node.weight(2), {a.experts, inner, in[0].cols});
  expect_shape(node, node.weight(3), {a.experts, in[0].cols, inner});
  return {in[0]};
}

struct Choice {
  int64_t row;
  float weight;
};

/// Adds the chosen experts of one row to their lists.
void choose(const MoeAttributes& a, float* score, int64_t row, std::vector<std::vector<Choice>>& lists) {
  const float most = *std::max_element(score, score + a.experts);
  float total = 0;
  exponentials(score, most, score, a.experts);
  for (int64_t e = 0; e < a.experts; ++e) total += score[e];
  std::vector<int64_t> order(static_cast<size_t>(a.experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t l, int64_t r) { return score[l] > score[r]; });
  float chosen = 0;
  for (int64_t u = 0; u < a.used; ++u) chosen += score[order[static_cast<size_t>(u)]];
  for (int64_t u = 0; u < a.used; ++u) {
    const int64_t e = order[static_cast<size_t>(u)];
    lists[static_cast<size_t>(e)].push_back({row, score[e] / (a.renormalize ? chosen : total)});
  }
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<MoeAttributes>();
  const int64_t hidden = in[0].cols, inner = node.weight(1)->shape[1];
  const auto observe = [&](size_t weight, int64_t expert, const Value& x) {
    if (run.observer != nullptr) run.observer->see(node, *node.weight(weight), expert, x);
  };
  observe(0, 0, in[0]);
  std::vector<float> scores(static_cast<size_t>(in[0].rows * a.experts));
  matmul(*node.weight(0)->matrix, 0, a.experts, in[0].data, in[0].rows, scores.data(), a.experts, run.pool);
  std::vector<std::vector<Choice>> lists(static_cast<size_t>(a.experts));
  for (int64_t i = 0; i < in[0].rows; ++i) choose(a, scores.data() + i * a.experts, i, lists);

  std::fill_n(out[0].data, out[0].rows * out[0].cols, 0.0f);
  std::vector<float> x, gate, up, y;
  // Experts in ascending order: the sum of a row does not depend on the other rows of the batch.
  for (int64_t e = 0; e < a.experts; ++e) {
    const std::vector<Choice>& list = lists[static_cast<size_t>(e)];
    const auto n = static_cast<int64_t>(list.size());
    if (n == 0) continue;
    x.resize(static_cast<size_t>(n * hidden));
    gate.resize(static_cast<size_t>(n * inner));
    up.resize(gate.size());
    y.resize(x.size());
    for (int64_t i = 0; i < n; ++i)
      std::copy_n(in[0].row(list[static_cast<size_t>(i)].row), hidden, x.data() + i * hidden);
    observe(1, e, {x.data(), n, hidden});
    observe(2, e, {x.data(), n, hidden});
    matmul(*node.weight(1)->matrix, e * inner, inner, x.data(), n, gate.data(), inner, run.pool);
    matmul(*node.weight(2)->matrix, e * inner, inner, x.data(), n, up.data(), inner, run.pool);
    activate(a.activation, gate.data(), up.data(), gate.data(), n * inner);
    observe(3, e, {gate.data(), n, inner});
    if (run.observe_only) continue;
    matmul(*node.weight(3)->matrix, e * hidden, hidden, gate.data(), n, y.data(), hidden, run.pool);
    for (int64_t i = 0; i < n; ++i) {
      float* sum = out[0].row(list[static_cast<size_t>(i)].row);
      for (int64_t c = 0; c < hidden; ++c)
        sum[c] += list[static_cast<size_t>(i)].weight * y[static_cast<size_t>(i * hidden + c)];
    }
  }
}

}  // namespace

const Op moe_op{.name = "moe", .shape = shape, .forward = forward, .products = true};

}  // namespace nibble
