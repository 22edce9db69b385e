#include "ops/integer/moe.h"

#include <algorithm>
#include <numeric>

#include "ops/integer/rows.h"

namespace nibble {
namespace {

// log2(e)
constexpr int32_t log2_e = 774541002;
constexpr int log2_e_exponent = -29;

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  const auto& a = node.attribute<IntegerMoe>();
  const auto experts = static_cast<size_t>(a.router->rows());
  if (a.used <= 0 || a.used > a.router->rows() || a.gate.size() != experts || a.up.size() != experts ||
      a.down.size() != experts)
    fail(ErrorKind::bad_input, "{} cannot use {} of {} experts", node.name, a.used, experts);
  expect_cols(node, in[0], a.router->cols());
  return {in[0]};
}

struct Choice {
  int64_t row;
  int32_t weight;  ///< Q30
};

/// Rows of whole numbers that keep their memory.
struct Rows {
  std::vector<int32_t> mantissas, exponents;

  void resize(int64_t rows, int64_t cols) {
    mantissas.resize(static_cast<size_t>(rows * cols));
    exponents.resize(static_cast<size_t>(rows));
  }
};

/// Adds the chosen experts of one row to their lists.
void choose(const IntegerMoe& a, const IntegerKernels& kernels, const int32_t* scores, int exponent,
            int64_t row, std::vector<std::vector<Choice>>& lists) {
  const int64_t experts = a.router->rows(), padded = (experts + kv_record - 1) / kv_record * kv_record;
  std::vector<int64_t> order(static_cast<size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t l, int64_t r) { return scores[l] > scores[r]; });
  std::vector<int32_t> p(scores, scores + experts);
  p.resize(static_cast<size_t>(padded));
  std::vector<int16_t> weights(p.size());
  static constexpr int16_t no_exponents[kv_record] = {};
  const IntegerSoftmax sum = kernels.softmax({p.data(), 0, experts, padded, no_exponents, no_exponents, 0,
                                              log2_e, log2_e_exponent + exponent, 0, 0, 0, weights.data()});
  // Exponentials stand where the scores stood.
  const auto at = [&](int64_t u) {
    return static_cast<uint64_t>(static_cast<uint32_t>(p[static_cast<size_t>(u)]));
  };
  uint64_t total = sum.sum;
  if (a.renormalize) {
    total = 0;
    for (int64_t u = 0; u < a.used; ++u) total += at(order[static_cast<size_t>(u)]);
  }
  for (int64_t u = 0; u < a.used; ++u) {
    const int64_t e = order[static_cast<size_t>(u)];
    lists[static_cast<size_t>(e)].push_back({row, static_cast<int32_t>((at(e) << mantissa_bits) / total)});
  }
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerMoe>();
  if (run.observer != nullptr)
    fail(ErrorKind::unsupported, "{}: a model in whole numbers shows no activations", node.name);
  const IntegerKernels& kernels = integer_kernels();
  const int64_t hidden = in[0].cols, rows = in[0].rows, experts = a.router->rows();
  Rows scores;
  scores.resize(rows, experts);
  integer_matmul(*a.router, in[0].whole(0), in[0].exponent, rows, scores.mantissas.data(),
                 scores.exponents.data(), run.pool);
  std::vector<std::vector<Choice>> lists(static_cast<size_t>(experts));
  for (int64_t i = 0; i < rows; ++i)
    choose(a, kernels, scores.mantissas.data() + i * experts, scores.exponents[static_cast<size_t>(i)], i,
           lists);

  std::fill_n(out[0].whole(0), rows * hidden, 0);
  std::fill_n(out[0].exponent, rows, 0);
  Rows x, gate, up, y;
  // Experts in ascending order: the sum of a row does not depend on the other rows of the batch.
  for (int64_t e = 0; e < experts; ++e) {
    const std::vector<Choice>& list = lists[static_cast<size_t>(e)];
    const auto n = static_cast<int64_t>(list.size());
    if (n == 0) continue;
    const auto expert = static_cast<size_t>(e);
    const int64_t inner = a.gate[expert]->rows();
    x.resize(n, hidden);
    gate.resize(n, inner);
    up.resize(n, inner);
    y.resize(n, hidden);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = list[static_cast<size_t>(i)].row;
      std::copy_n(in[0].whole(row), hidden, x.mantissas.data() + i * hidden);
      x.exponents[static_cast<size_t>(i)] = in[0].exponent[row];
    }
    const auto product = [&](const IntegerMatrix& w, const Rows& from, Rows& to) {
      integer_matmul(w, from.mantissas.data(), from.exponents.data(), n, to.mantissas.data(),
                     to.exponents.data(), run.pool);
    };
    product(*a.gate[expert], x, gate);
    product(*a.up[expert], x, up);
    for (int64_t i = 0; i < n; ++i) {
      int32_t* g = gate.mantissas.data() + i * inner;
      int32_t& exponent = gate.exponents[static_cast<size_t>(i)];
      exponent = activate_row(kernels, a.function, g, exponent, up.mantissas.data() + i * inner,
                              up.exponents[static_cast<size_t>(i)], inner, g);
    }
    product(*a.down[expert], gate, y);
    for (int64_t i = 0; i < n; ++i) {
      const auto [row, weight] = list[static_cast<size_t>(i)];
      int32_t* part = y.mantissas.data() + i * hidden;
      for (int64_t c = 0; c < hidden; ++c)
        part[c] = static_cast<int32_t>(shift_right(int64_t{part[c]} * weight, mantissa_bits));
      out[0].exponent[row] = add_rows(kernels, out[0].whole(row), out[0].exponent[row], part,
                                      y.exponents[static_cast<size_t>(i)], hidden, out[0].whole(row));
    }
  }
}

}  // namespace

const Op integer_moe_op{
    .name = "integer moe", .shape = shape, .forward = forward, .products = true, .integer = true};

}  // namespace nibble
