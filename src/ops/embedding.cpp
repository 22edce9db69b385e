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

void add_row(const Weight& table, int64_t index, const char* what, std::span<float> scratch, float* out) {
  if (index < 0 || index >= table.matrix->rows())
    fail(ErrorKind::bad_input, "{} {} is outside of {}, which has {} rows", what, index, table.name,
         table.matrix->rows());
  table.matrix->decode_rows(index, 1, scratch.data(), static_cast<int64_t>(scratch.size()));
  for (size_t c = 0; c < scratch.size(); ++c) out[c] += scratch[c];
}

void forward(const Node& node, RunContext& run, std::span<const Value>, std::span<const Value> out) {
  const auto& attributes = node.attribute<EmbeddingAttributes>();
  parallel_ranges(run.pool, out[0].rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(out[0].cols));
    for (int64_t i = begin; i < end; ++i) {
      float* y = out[0].row(i);
      for (int64_t c = 0; c < out[0].cols; ++c) y[c] = 0;
      add_row(*node.weight(0), run.tokens[static_cast<size_t>(i)], "token", scratch, y);
      if (attributes.scale != 1.0f) {
        for (int64_t c = 0; c < out[0].cols; ++c) y[c] *= attributes.scale;
      }
      if (node.weight(1) != nullptr)
        add_row(*node.weight(1), run.position_of(i) + attributes.position_offset, "position", scratch, y);
      if (node.weight(2) != nullptr) {
        const int32_t type = run.token_types.empty() ? 0 : run.token_types[static_cast<size_t>(i)];
        add_row(*node.weight(2), type, "token type", scratch, y);
      }
    }
  });
}

}  // namespace

const Op embedding_op{.name = "embedding", .shape = shape, .forward = forward};

}  // namespace nibble
