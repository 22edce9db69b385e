#include "kernels/gram.h"

#include <algorithm>
#include <utility>

namespace nibble {
namespace {

constexpr int64_t strip = 64;  ///< columns of X that stand close together
constexpr int64_t group = 16;  ///< channels of a tile
constexpr int64_t block = 32;  ///< rows of a tile
constexpr int64_t piece = 16;  ///< pairs of groups whose tiles stay in the second-level cache
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
      kernels.sums.weighted_sum(
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
int64_t waiting_blocks(int64_t cols) { return std::clamp<int64_t>(cols / 2, 128, most_waiting) / block; }

int64_t groups_of(int64_t cols) { return (cols + group - 1) / group; }
int64_t pairs_of(int64_t cols) { return (cols + gram_side - 1) / gram_side; }

}  // namespace

Gram::Gram(int64_t cols, Precision precision)
    : cols_(cols),
      kernel_(precision == Precision::fast && cpu_kernels().gram.run != nullptr ? &cpu_kernels().gram
                                                                                : nullptr),
      most_blocks_(waiting_blocks(cols)) {
  if (kernel_ == nullptr) resize_in_huge_pages(sums_, static_cast<size_t>(cols * cols));
}

uint64_t Gram::most_bytes(int64_t cols, Precision precision) {
  const auto side = static_cast<uint64_t>(cols);
  // What take() gives. Before, half of it and the rows that wait; in take(), half of it as well.
  const uint64_t sums = side * side * sizeof(float);
  if (precision == Precision::exact) return sums;
  return sums + static_cast<uint64_t>(gram_pairs(pairs_of(cols)) * gram_pair) * sizeof(float);
}

void Gram::add(const float* x, int64_t rows, ThreadPool& pool) {
  if (kernel_ == nullptr) {
    add_exact(x, rows, cols_, sums_.data(), pool);
    return;
  }
  if (left_.size() == 0) {
    const auto side = static_cast<size_t>(groups_of(cols_) * most_blocks_ * gram_block);
    left_ = LargeArray<uint16_t>(side);
    right_ = LargeArray<uint16_t>(side);
    tiles_ = LargeArray<float>(static_cast<size_t>(gram_pairs(pairs_of(cols_)) * gram_pair));
  }
  while (rows > 0) {
    // Whole blocks, but for what the calls begin and end with.
    const int64_t left_over = static_cast<int64_t>(rest_.size()) / cols_;
    int64_t n;
    if (left_over > 0 || rows < block) {
      n = std::min(block - left_over, rows);
      rest_.insert(rest_.end(), x, x + n * cols_);
      if (left_over + n == block) pack_rest(pool);
    } else {
      n = std::min((most_blocks_ - blocks_) * block, rows / block * block);
      pack(x, n, pool);
    }
    x += n * cols_;
    rows -= n;
  }
}

void Gram::pack_rest(ThreadPool& pool) {
  if (!rest_.empty()) pack(rest_.data(), static_cast<int64_t>(rest_.size()) / cols_, pool);
  rest_.clear();
}

void Gram::pack(const float* x, int64_t rows, ThreadPool& pool) {
  const int64_t stride = most_blocks_ * gram_block;
  pool.parallel_for(static_cast<size_t>((cols_ + strip - 1) / strip), [&](size_t i) {
    const int64_t from = static_cast<int64_t>(i) * strip, at = from / group * stride + blocks_ * gram_block;
    kernel_->pack({x + from, rows, cols_, std::min(strip, cols_ - from), left_.data() + at,
                   right_.data() + at, stride});
  });
  blocks_ += (rows + block - 1) / block;
  if (blocks_ == most_blocks_) multiply(pool);
}

void Gram::multiply(ThreadPool& pool) {
  const int64_t pairs = pairs_of(cols_), pieces = (pairs + piece - 1) / piece;
  pool.parallel_for(static_cast<size_t>(blocks_ > 0 ? pieces : 0), [&](size_t i) {
    // The last one meets all: the longest first.
    const int64_t first = (pieces - 1 - static_cast<int64_t>(i)) * piece;
    kernel_->run({left_.data(), right_.data(), most_blocks_ * gram_block, blocks_, cols_, first,
                  std::min(piece, pairs - first), tiles_.data()});
  });
  blocks_ = 0;
}

/// Rows of a pair of groups, from the sums of all pairs.
void Gram::unfold(int64_t pair, float* h) const {
  const int64_t pairs = pairs_of(cols_), first = pair * gram_side,
                height = std::min(gram_side, cols_ - first);
  for (int64_t other = 0; other < pairs; ++other) {
    const int64_t from = other * gram_side, width = std::min(gram_side, cols_ - from);
    const int64_t low = std::min(pair, other), high = std::max(pair, other);
    const float* sums = tiles_.data() + gram_place(pairs, low, high) * gram_pair;
    for (int64_t r = 0; r < height; ++r) {
      for (int64_t c = 0; c < width; ++c) {
        const bool turned = first + r > from + c;
        const int64_t i = turned ? c : r, j = turned ? r : c;
        h[r * cols_ + from + c] =
            sums[i / group * 2 * group * group + j / group * group * group + i % group * group + j % group];
      }
    }
  }
}

std::vector<float> Gram::take(ThreadPool& pool) {
  const auto n = static_cast<size_t>(cols_);
  if (kernel_ != nullptr) {
    pack_rest(pool);
    multiply(pool);
    left_ = right_ = {};
    std::vector<float> h;
    resize_in_huge_pages(h, n * n);
    if (tiles_.size() > 0) {
      pool.parallel_for(static_cast<size_t>(pairs_of(cols_)), [&](size_t i) {
        const auto pair = static_cast<int64_t>(i);
        unfold(pair, h.data() + pair * gram_side * cols_);
      });
    }
    tiles_ = {};
    return h;
  }
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
