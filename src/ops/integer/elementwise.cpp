#include "ops/integer/elementwise.h"

#include <algorithm>

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> same(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return {in[0]};
}

void add(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const IntegerKernels& kernels = integer_kernels();
  parallel_ranges(run.pool, in[0].rows, 1 + 32768 / in[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out[0].exponent[i] = add_rows(kernels, in[0].whole(i), in[0].exponent[i], in[1].whole(i),
                                    in[1].exponent[i], in[0].cols, out[0].whole(i));
  });
}

void softcap(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerSoftcap>();
  const IntegerKernels& kernels = integer_kernels();
  const int64_t cols = in[0].cols;
  // Each piece of a row by itself: its exponent is that of the cap.
  constexpr int64_t piece = 4096;
  const int64_t pieces = (cols + piece - 1) / piece;
  parallel_ranges(run.pool, in[0].rows * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t row = at / pieces, first = at % pieces * piece;
      kernels.cap({in[0].whole(row) + first, std::min(piece, cols - first), in[0].exponent[row],
                   a.turn.mantissa, a.cap.mantissa, a.turn.exponent, out[0].whole(row) + first});
    }
  });
  std::fill_n(out[0].exponent, out[0].rows, a.cap.exponent);
}

std::vector<Extent> selected(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  return {{RowSet::selected, in[0].cols, true}};
}

void select_rows(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  for (size_t i = 0; i < run.selected.size(); ++i) {
    const int64_t from = run.selected[i];
    std::copy_n(in[0].whole(from), in[0].cols, out[0].whole(static_cast<int64_t>(i)));
    out[0].exponent[i] = in[0].exponent[from];
  }
}

}  // namespace

const Op integer_add_op{
    .name = "integer add", .shape = same, .forward = add, .in_place = true, .integer = true};
const Op integer_softcap_op{
    .name = "integer softcap", .shape = same, .forward = softcap, .in_place = true, .integer = true};
const Op integer_select_rows_op{
    .name = "integer select_rows", .shape = selected, .forward = select_rows, .integer = true};

}  // namespace nibble
