#include "ops/embedding.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent>) {
  expect_shape(node, node.weight(0), {-1, -1});
  const int64_t hidden = node.weight(0)->shape[1];
  for (size_t i = 1; i < 3; ++i) {
    if (node.weight(i) != nullptr) expect_shape(node, node.weight(i), {-1, hidden});
  }
  return {{RowSet::all, hidden}};
}

/// A row as f32: where it stands, or written to `room`.
const float* row_of(const Weight& table, int64_t index, const char* what, float* room) {
  const Matrix& m = *table.matrix;
  if (index < 0 || index >= m.rows())
    fail(ErrorKind::bad_input, "{} {} is outside of {}, which has {} rows", what, index, table.name,
         m.rows());
  if (m.decoded() != nullptr) return m.decoded() + index * m.cols();
  m.decode_rows(index, 1, room, m.cols());
  return room;
}

void forward(const Node& node, RunContext& run, std::span<const Value>, std::span<const Value> out) {
  const auto& attributes = node.attribute<EmbeddingAttributes>();
  parallel_ranges(run.pool, out[0].rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(out[0].cols));
    for (int64_t i = begin; i < end; ++i) {
      float* y = out[0].row(i);
      const int64_t cols = out[0].cols;
      const float* token = row_of(*node.weight(0), run.tokens[static_cast<size_t>(i)], "token", y);
      for (int64_t c = 0; c < cols; ++c) y[c] = token[c] * attributes.scale;
      const auto add = [&](const Weight& table, int64_t index, const char* what) {
        const float* row = row_of(table, index, what, scratch.data());
        for (int64_t c = 0; c < cols; ++c) y[c] += row[c];
      };
      if (node.weight(1) != nullptr)
        add(*node.weight(1), run.position_of(i) + attributes.position_offset, "position");
      if (node.weight(2) != nullptr) {
        const int32_t type = run.token_types.empty() ? 0 : run.token_types[static_cast<size_t>(i)];
        add(*node.weight(2), type, "token type");
      }
    }
  });
}

}  // namespace

const Op embedding_op{.name = "embedding", .shape = shape, .forward = forward};

}  // namespace nibble
