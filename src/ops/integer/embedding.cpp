#include "ops/integer/embedding.h"

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent>) {
  const auto& a = node.attribute<IntegerEmbedding>();
  for (const auto& table : {a.positions, a.types}) {
    if (table != nullptr && table->cols != a.tokens->cols)
      fail(ErrorKind::bad_input, "{} has {} columns, {} has {}", table->name, table->cols, a.tokens->name,
           a.tokens->cols);
  }
  return {{RowSet::all, a.tokens->cols, true}};
}

struct Scratch {
  std::vector<int8_t> codes;
  std::vector<int32_t> zeros, other;
};

/// One row as mantissas; returns their exponent.
int32_t read(const IntegerTable& table, int64_t index, const char* what, Scratch& scratch, int32_t* y) {
  if (index < 0 || index >= table.rows)
    fail(ErrorKind::bad_input, "{} {} is outside of {}, which has {} rows", what, index, table.name,
         table.rows);
  const int64_t cols = table.cols;
  if (!table.codes) {
    const int16_t* values = table.values.data() + index * cols;
    for (int64_t c = 0; c < cols; ++c) y[c] = values[c];
    return table.exponents[static_cast<size_t>(index)];
  }
  const int64_t group = table.codes->group(), groups = cols / group;
  scratch.codes.resize(static_cast<size_t>(cols));
  scratch.zeros.resize(static_cast<size_t>(groups));
  table.codes->read_codes(index, scratch.codes.data(), scratch.zeros.data());
  for (int64_t g = 0; g < groups; ++g) {
    const int32_t scale = table.scales[static_cast<size_t>(index * groups + g)];
    const int32_t zero = scratch.zeros[static_cast<size_t>(g)];
    const int8_t* codes = scratch.codes.data() + g * group;
    for (int64_t c = 0; c < group; ++c) y[g * group + c] = (codes[c] - zero) * scale;
  }
  return table.exponents[static_cast<size_t>(index)];
}

void forward(const Node& node, RunContext& run, std::span<const Value>, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerEmbedding>();
  const IntegerKernels& kernels = integer_kernels();
  const int64_t cols = out[0].cols;
  parallel_ranges(run.pool, out[0].rows, 16, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t i = begin; i < end; ++i) {
      int32_t* y = out[0].whole(i);
      int32_t exponent = read(*a.tokens, run.tokens[static_cast<size_t>(i)], "token", scratch, y);
      const auto add = [&](const IntegerTable& table, int64_t index, const char* what) {
        scratch.other.resize(static_cast<size_t>(cols));
        const int32_t other = read(table, index, what, scratch, scratch.other.data());
        exponent = add_rows(kernels, y, exponent, scratch.other.data(), other, cols, y);
      };
      if (a.positions) add(*a.positions, run.position_of(i) + a.position_offset, "position");
      if (a.types)
        add(*a.types, run.token_types.empty() ? 0 : run.token_types[static_cast<size_t>(i)], "token type");
      out[0].exponent[i] = exponent;
    }
  });
}

}  // namespace

const Op integer_embedding_op{
    .name = "integer embedding", .shape = shape, .forward = forward, .integer = true};

}  // namespace nibble
