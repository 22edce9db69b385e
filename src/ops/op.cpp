#include "ops/op.h"

#include <algorithm>

namespace nibble {

const SequenceRows& RunContext::sequence_of(int64_t row) const {
  const auto after = std::upper_bound(sequences.begin(), sequences.end(), row,
                                      [](int64_t r, const SequenceRows& s) { return r < s.first; });
  if (after == sequences.begin()) fail(ErrorKind::internal, "row {} belongs to no sequence", row);
  return *(after - 1);
}

void expect_shape(const Node& node, const Weight* weight, std::span<const int64_t> shape) {
  if (weight == nullptr) fail(ErrorKind::bad_input, "{} lacks a weight", node.name);
  bool fits = weight->shape.rank() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || weight->shape[i] == shape[i];
  if (fits) return;
  std::string wanted;
  for (const int64_t n : shape) wanted += (wanted.empty() ? "" : ", ") + (n < 0 ? "any" : std::to_string(n));
  fail(ErrorKind::bad_input, "{} has shape {}, expected [{}]", weight->name, weight->shape.to_string(),
       wanted);
}

void expect_cols(const Node& node, const Extent& in, int64_t cols) {
  if (in.cols != cols) fail(ErrorKind::bad_input, "{} needs {} columns, has {}", node.name, cols, in.cols);
}

void parallel_ranges(ThreadPool& pool, int64_t count, int64_t grain,
                     const std::function<void(int64_t, int64_t)>& body) {
  const int64_t threads = pool.threads();
  int64_t parts = std::clamp<int64_t>(count / std::max<int64_t>(grain, 1), 1, 4 * threads);
  if (parts > threads) parts -= parts % threads;  // none has a part more than another
  pool.parallel_for(static_cast<size_t>(parts), [&](size_t i) {
    const auto part = static_cast<int64_t>(i);
    body(count * part / parts, count * (part + 1) / parts);
  });
}

}  // namespace nibble
