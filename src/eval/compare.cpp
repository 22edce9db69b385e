#include "eval/compare.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"

namespace nibble {
namespace {

constexpr int64_t window_weights = int64_t{1} << 18;

struct Part {
  size_t tensor;
  int64_t row, rows;
};

}  // namespace

std::vector<TensorComparison> compare_tensors(const Checkpoint& model, const Checkpoint& original,
                                              ThreadPool& pool, Progress& progress) {
  std::vector<TensorComparison> results;
  std::vector<std::pair<const CanonicalTensor*, const CanonicalTensor*>> pairs;
  std::vector<Part> parts;
  uint64_t weights = 0;
  for (const CanonicalTensor& t : model.tensors()) {
    const CanonicalTensor* o = original.find(t.name);
    if (o == nullptr || o->shape != t.shape) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("{} has {} {}, {} has {}", model.path(), t.name, t.shape.to_string(),
                              original.path(), o == nullptr ? "no such tensor" : o->shape.to_string()),
                  "--against wants the model that this one was made from");
    }
    const int64_t step = std::max<int64_t>(1, window_weights / std::max<int64_t>(1, t.shape.cols()));
    for (int64_t row = 0; row < t.shape.rows(); row += step) {
      parts.push_back({pairs.size(), row, std::min(step, t.shape.rows() - row)});
    }
    weights += static_cast<uint64_t>(t.shape.elements());
    pairs.emplace_back(&t, o);
    results.push_back({t.name, t.format, t.shape, {}});
  }
  std::vector<Distortion> partial(parts.size());
  progress.start("comparing", weights, "weights");
  pool.parallel_for(parts.size(), [&](size_t i) {
    check_interrupt();
    const Part& p = parts[i];
    const auto& [a, b] = pairs[p.tensor];
    const auto n = static_cast<size_t>(p.rows * a->shape.cols());
    std::vector<float> x(n), y(n);
    original.read_rows(*b, p.row, p.rows, x.data());
    model.read_rows(*a, p.row, p.rows, y.data());
    partial[i].add(x, y);
    progress.advance(n, a->name);
  });
  progress.finish();
  for (size_t i = 0; i < parts.size(); ++i) results[parts[i].tensor].distortion.merge(partial[i]);
  return results;
}

}  // namespace nibble
