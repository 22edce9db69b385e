#include "kernels/gram.h"

#include <algorithm>
#include <utility>

#include "kernels/scratch.h"

namespace nibble {
namespace {

constexpr int64_t strip = 64;  ///< columns of X that stand close together
constexpr int64_t group = 16;  ///< channels of a tile
constexpr int64_t piece = 32;  ///< groups whose tiles stay in the second-level cache
/// Rows that are multiplied together, at most: with fewer, adding to the sums takes most of the time.
constexpr int64_t most_waiting = 1024;

/// X [rows, cols] as strips of columns: strip s holds rows x 64 floats, the last one padded with zeros.
std::vector<float> cut_strips(const float* x, int64_t rows, int64_t cols) {
  const int64_t strips = (cols + strip - 1) / strip;
  std::vector<float> cut(static_cast<size_t>(strips * rows * strip));
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t from = s * strip, n = std::min(strip, cols - from);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(x + r * cols + from, n, cut.data() + (s * rows + r) * strip);
  }
  return cut;
}

/// A square of 64 x 64 at a time.
void add_exact(const float* x, int64_t rows, int64_t n, float* h, ThreadPool& pool) {
  const int64_t strips = (n + strip - 1) / strip;
  const std::vector<float> cut = cut_strips(x, rows, n);
  const CpuKernels& kernels = cpu_kernels();
  pool.parallel_for(static_cast<size_t>(strips), [&](size_t index) {
    // Long rows of squares first, so that the threads end together.
    const auto i = static_cast<int64_t>(index);
    const float* left = cut.data() + i * rows * strip;
    std::vector<float> turned(static_cast<size_t>(strip * rows)), sum(static_cast<size_t>(strip * strip));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < strip; ++c) turned[static_cast<size_t>(c * rows + r)] = left[r * strip + c];
    }
    for (int64_t j = i; j < strips; ++j) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      kernels.weighted_sum(
          {turned.data(), strip, rows, cut.data() + j * rows * strip, rows, strip, strip, sum.data(), strip});
      const int64_t height = std::min(strip, n - i * strip), width = std::min(strip, n - j * strip);
      for (int64_t r = 0; r < height; ++r) {
        float* to = h + (i * strip + r) * n + j * strip;
        for (int64_t c = 0; c < width; ++c) to[c] += sum[static_cast<size_t>(r * strip + c)];
      }
    }
  });
}

/// No more memory than half of the sums takes: a stack has one Gram for each expert.
int64_t waiting_rows(int64_t cols) { return std::clamp<int64_t>(cols / 2, 128, most_waiting); }

struct GramTile {
  uint16_t v[gram_block];
};
struct GramSums {
  float v[gram_sums(piece)];
};

void add_fast(const GramKernel& kernel, const float* x, int64_t rows, int64_t n, float* h, ThreadPool& pool) {
  const int64_t groups = (n + group - 1) / group, numbers = (rows + 31) / 32 * gram_block;
  // Asked for by pairs of groups, the last of which may be half.
  const auto side = static_cast<size_t>((groups + 1) / 2 * 2 * numbers);
  uint16_t* left = scratch<GramTile>(2 * side * sizeof(uint16_t))->v;
  uint16_t* right = left + side;
  pool.parallel_for(static_cast<size_t>(groups), [&](size_t i) {
    const auto g = static_cast<int64_t>(i);
    kernel.pack(
        {x + g * group, rows, n, std::min(group, n - g * group), left + g * numbers, right + g * numbers});
  });
  const int64_t pieces = (groups + piece - 1) / piece;
  pool.parallel_for(static_cast<size_t>(pieces), [&](size_t i) {
    // The last one meets all groups: the longest first.
    const int64_t first = (pieces - 1 - static_cast<int64_t>(i)) * piece;
    auto* sums = scratch<GramSums>(sizeof(GramSums));
    kernel.run({left, right, rows, n, first, std::min(piece, groups - first), sums->v, h});
  });
}

}  // namespace

Gram::Gram(int64_t cols, Precision precision)
    : cols_(cols),
      kernel_(precision == Precision::fast && cpu_kernels().gram.run != nullptr ? &cpu_kernels().gram
                                                                                : nullptr),
      most_waiting_(waiting_rows(cols)) {
  resize_in_huge_pages(sums_, static_cast<size_t>(cols * cols));
}

uint64_t Gram::most_bytes(int64_t cols, Precision precision) {
  const auto side = static_cast<uint64_t>(cols);
  const uint64_t sums = side * side * sizeof(float);
  return precision == Precision::exact
             ? sums
             : sums + static_cast<uint64_t>(waiting_rows(cols)) * side * sizeof(float);
}

void Gram::add(const float* x, int64_t rows, ThreadPool& pool) {
  if (kernel_ == nullptr) {
    add_exact(x, rows, cols_, sums_.data(), pool);
    return;
  }
  if (waiting_.capacity() == 0) {
    waiting_.reserve(static_cast<size_t>(most_waiting_ * cols_));
    want_huge_pages(waiting_.data(), waiting_.capacity() * sizeof(float));
  }
  for (int64_t at = 0; at < rows;) {
    const int64_t room = most_waiting_ - static_cast<int64_t>(waiting_.size()) / cols_;
    const int64_t n = std::min(room, rows - at);
    waiting_.insert(waiting_.end(), x + at * cols_, x + (at + n) * cols_);
    at += n;
    if (n == room) add_waiting(pool);
  }
}

void Gram::add_waiting(ThreadPool& pool) {
  const int64_t rows = static_cast<int64_t>(waiting_.size()) / cols_;
  if (rows > 0) add_fast(*kernel_, waiting_.data(), rows, cols_, sums_.data(), pool);
  waiting_.clear();
}

std::vector<float> Gram::take(ThreadPool& pool) {
  add_waiting(pool);
  waiting_ = {};
  const auto n = static_cast<size_t>(cols_);
  pool.parallel_for((n + strip - 1) / strip, [&](size_t at) {
    constexpr size_t side = strip;
    const size_t a = at * side;
    for (size_t b = 0; b <= a; b += side) {
      for (size_t i = a; i < std::min(n, a + side); ++i) {
        for (size_t j = b; j < std::min(i, b + side); ++j) sums_[i * n + j] = sums_[j * n + i];
      }
    }
  });
  return std::exchange(sums_, {});
}

}  // namespace nibble
