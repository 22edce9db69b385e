#include "pipeline/task.h"

#include <algorithm>
#include <numeric>

namespace nibble {
namespace {

constexpr int64_t window_weights = int64_t{1} << 19;
constexpr uint64_t copy_chunk = uint64_t{4} << 20;

}  // namespace

int64_t rows_of(const Format& format, const Shape& shape, int64_t weights) {
  const int64_t cols = std::max<int64_t>(1, shape.cols());
  const int64_t block = format.block(shape);
  const int64_t step = block / std::gcd(block, cols);  // fewest rows that do
  return std::max(step, weights / cols / step * step);
}

int64_t window_rows(const Format& format, const Shape& shape) {
  return rows_of(format, shape, window_weights);
}

std::vector<Task> copy_tasks(size_t tensor, std::span<const PlaneInfo> planes) {
  std::vector<Task> tasks;
  for (size_t p = 0; p < planes.size(); ++p) {
    for (uint64_t at = 0; at < planes[p].bytes; at += copy_chunk)
      tasks.push_back({tensor, 0, 0, {{p, at, std::min(copy_chunk, planes[p].bytes - at)}}});
  }
  return tasks;
}

std::vector<Task> row_tasks(size_t tensor, const Format& format, const Shape& shape,
                            std::span<const PlaneInfo> planes, int64_t rows_each) {
  std::vector<Task> tasks;
  Task whole{tensor, 0, 0, {}};
  for (size_t p = 0; p < planes.size(); ++p) {
    if (planes[p].block_bytes == 0) whole.ranges.push_back({p, 0, planes[p].bytes});
  }
  if (!whole.ranges.empty()) tasks.push_back(std::move(whole));
  const int64_t step = window_rows(format, shape), block = format.block(shape);
  for (int64_t row = 0, rows = 0; row < shape.rows(); row += rows) {
    rows = std::min(step, rows_each - row % rows_each);
    Task task{tensor, row, rows, {}};
    const auto first = static_cast<uint64_t>(row * shape.cols() / block);
    const auto end = static_cast<uint64_t>(((row + rows) * shape.cols() + block - 1) / block);
    for (size_t p = 0; p < planes.size(); ++p) {
      if (planes[p].block_bytes == 0) continue;
      const uint64_t from = first * planes[p].block_bytes;
      task.ranges.push_back(
          {p, from, std::min<uint64_t>(end * planes[p].block_bytes, planes[p].bytes) - from});
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace nibble
