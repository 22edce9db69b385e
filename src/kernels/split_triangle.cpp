#include "kernels/split_triangle.h"

#include "kernels/scratch.h"

namespace nibble {
namespace {

constexpr int64_t group = 16;  ///< columns of a tile
constexpr int64_t group_numbers = split_depth / 32 * 2 * split_tile;

struct SplitRow {
  uint16_t v[split_tile];
};

}  // namespace

SplitTriangle::SplitTriangle(const float* m, int64_t n, ThreadPool& pool) : n_(n) {
  if (cpu_kernels().split.run == nullptr) return;
  kernel_ = &cpu_kernels().split;
  size_t size = 0;
  for (int64_t from = 0; from + panel < n; from += panel) {
    begin_.push_back(size);
    size += static_cast<size_t>((n - from - panel + group - 1) / group * group_numbers);
  }
  tiles_ = LargeArray<uint16_t>(size);
  pool.parallel_for(begin_.size(), [&](size_t i) {
    const int64_t from = static_cast<int64_t>(i) * panel, to = from + panel;
    kernel_->pack({m + from * n + to, n, n - to, tiles_.data() + begin_[i]});
  });
}

void SplitTriangle::add(int64_t from, int64_t to, const float* p, int64_t rows, int64_t p_stride, float* y,
                        int64_t y_stride) const {
  const int64_t groups = (n_ - to + group - 1) / group;
  if (rows <= 0 || groups <= 0) return;
  const auto side = static_cast<size_t>(padded_rows(rows) / group * group_numbers) * sizeof(uint16_t);
  uint16_t* split = scratch<SplitRow>(side)->v;
  for (int64_t at = from; at < to; at += panel) {
    const int64_t skipped = (to - at - panel) / group * group_numbers;
    kernel_->run({tiles_.data() + begin_[static_cast<size_t>(at / panel)] + skipped, groups, p + at, rows,
                  p_stride, split, y + to, y_stride});
  }
}

}  // namespace nibble
