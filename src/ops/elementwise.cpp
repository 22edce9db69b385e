#include "ops/elementwise.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

std::vector<Extent> same(const Node& node, std::span<const Extent> in) {
  if (in.size() > 1) expect_cols(node, in[1], in[0].cols);
  return {in[0]};
}

void add(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  parallel_ranges(run.pool, in[0].rows * in[0].cols, 32768, [&](int64_t begin, int64_t end) {
    const float *a = in[0].data, *b = in[1].data;
    float* y = out[0].data;
    for (int64_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
  });
}

void softcap(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const float cap = node.attribute<SoftcapAttributes>().cap;
  parallel_ranges(run.pool, in[0].rows * in[0].cols, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[0].data[i] = cap * std::tanh(in[0].data[i] / cap);
  });
}

std::vector<Extent> selected(const Node&, std::span<const Extent> in) {
  return {{RowSet::selected, in[0].cols}};
}

void select_rows(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  parallel_ranges(run.pool, out[0].rows, 1 + 16384 / in[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::copy_n(in[0].row(run.selected[static_cast<size_t>(i)]), in[0].cols, out[0].row(i));
  });
}

}  // namespace

const Op add_op{.name = "add", .shape = same, .forward = add, .in_place = true};
const Op softcap_op{.name = "softcap", .shape = same, .forward = softcap, .in_place = true};
const Op select_rows_op{.name = "select_rows", .shape = selected, .forward = select_rows};

}  // namespace nibble
