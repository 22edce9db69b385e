#include "kernels/fast_matmul.h"

#include <algorithm>
#include <memory>

#include "base/huge_memory.h"

namespace nibble {
namespace {

/// Memory that is never shrunk nor cleared, in large pages: its place in the second-level cache is then its
/// own.
template <class T>
T* scratch(size_t bytes) {
  thread_local std::shared_ptr<std::byte> memory;
  thread_local size_t size = 0;
  if (size < bytes) {
    HugeMemory huge;
    memory = nullptr;
    memory = huge.take(bytes);
    size = bytes;
  }
  return reinterpret_cast<T*>(memory.get());
}
// Tags keep the buffers of one thread apart.
struct TokenTile {
  uint16_t v[16 * 32];
};
struct WeightTile {
  uint16_t v[16 * 32];
};
struct LaneSum {
  float v;
};
struct TileSum {
  float v;
};

// Of weights: less than this is not worth waking a thread for.
constexpr int64_t serial_bytes = 24 * 1024;
constexpr int64_t serial_rounding = 16 * 1024;  // of activations
constexpr int64_t least_piece = 16 * 1024, most_piece = 256 * 1024;

/// Work for several threads: long parts first, because a stream of weights is slow where it starts, and ever
/// shorter ones, so that all are done at once.
class Shares {
 public:
  /// Parts of `all` units, none longer than `most`.
  Shares(int64_t all, int64_t threads, int64_t most = int64_t{1} << 40) {
    for (int64_t at = 0; at < all; ++count_) {
      begin_[count_] = at;
      const bool full = count_ + 1 == most_parts;
      at += full ? all - at : std::clamp<int64_t>((all - at) / (2 * threads), 1, most);
    }
    begin_[count_] = all;
  }
  size_t count() const noexcept { return count_; }
  int64_t begin(size_t i) const noexcept { return begin_[i]; }
  int64_t end(size_t i) const noexcept { return begin_[i + 1]; }

 private:
  static constexpr size_t most_parts = 1024;
  size_t count_ = 0;
  int64_t begin_[most_parts + 1];
};

/// Few tokens: every row is read once, in its own format.
void dot_product(const Matrix& w, const KernelRow& row, const CpuKernels& cpu, const Product& p,
                 ThreadPool& pool) {
  const int64_t k = w.cols();
  const void* x = p.x;
  if (!row.floats) {
    const int64_t units = (k + unit_weights - 1) / unit_weights;
    auto* rounded = scratch<RoundedUnit>(static_cast<size_t>(p.m * units) * sizeof(RoundedUnit));
    constexpr auto size = static_cast<int64_t>(sizeof(RoundedUnit));
    cpu.round({p.x, p.m, k, row.bias, reinterpret_cast<std::byte*>(rounded), units * size, size});
    x = rounded;
  }
  const int64_t row_bytes = std::max<int64_t>(1, static_cast<int64_t>(w.tensor().bytes()) / w.rows());
  const int64_t all_bytes = p.n * row_bytes;
  const int64_t piece = std::clamp(all_bytes / (4 * pool.threads()), least_piece, most_piece);
  const int64_t step = std::max<int64_t>(1, piece / row_bytes);
  const auto work = [&](size_t i) {
    const int64_t begin = static_cast<int64_t>(i) * step;
    row.dot({w.planes(), p.first + begin, std::min(step, p.n - begin), k, x, p.m, p.y + begin, p.y_stride});
  };
  const auto pieces = static_cast<size_t>((p.n + step - 1) / step);
  if (all_bytes * p.m <= serial_bytes) {
    for (size_t i = 0; i < pieces; ++i) work(i);
  } else {
    pool.parallel_for(pieces, work);
  }
}

// Their sums for 64 rows stay in the second-level cache.
constexpr int64_t most_lane_tokens = 512;

/// Weights in lanes, any number of tokens: products of whole numbers.
void lane_product(const Matrix& w, const LaneRow& row, int64_t ahead, const Product& p, ThreadPool& pool) {
  const int64_t k = w.cols(), units = (k + unit_weights - 1) / unit_weights;
  const int64_t all_bytes = p.n * std::max<int64_t>(1, static_cast<int64_t>(w.tensor().bytes()) / w.rows());
  const Shares shares((p.n + most_lane_rows - 1) / most_lane_rows, pool.threads());
  for (int64_t begin = 0; begin < p.m; begin += most_lane_tokens) {
    const int64_t m = std::min(most_lane_tokens, p.m - begin);
    const float* x = p.x + begin * k;
    float* y = p.y + begin * p.y_stride;
    auto* rounded = scratch<std::byte>(static_cast<size_t>(m * units * row.x_bytes));
    const auto round = [&](size_t at) {
      const int64_t i = static_cast<int64_t>(at) * 16;
      row.round({x + i * k, std::min<int64_t>(16, m - i), k, row.bias, rounded + i * row.x_bytes, row.x_bytes,
                 m * row.x_bytes});
    };
    const auto work = [&](size_t at) {
      const int64_t first = shares.begin(at) * most_lane_rows;
      const int64_t n = std::min(p.n, shares.end(at) * most_lane_rows) - first;
      auto* sums = scratch<LaneSum>(static_cast<size_t>(m * most_lane_rows) * sizeof(float));
      row.product({w.lanes_at(p.first + first), n, k, rounded, m, &sums->v, y + first, p.y_stride, ahead});
    };
    const auto groups = static_cast<size_t>((m + 15) / 16);
    if (m * k <= serial_rounding) {
      for (size_t i = 0; i < groups; ++i) round(i);
    } else {
      pool.parallel_for(groups, round);
    }
    if (all_bytes * m <= serial_bytes) {
      for (size_t i = 0; i < shares.count(); ++i) work(i);
    } else {
      pool.parallel_for(shares.count(), work);
    }
  }
}

// Ready for tiles; they stay in the second-level cache.
constexpr int64_t most_panel_bytes = int64_t{1} << 20;
// All tokens are read anew for each part.
constexpr int64_t tile_rows = 128, most_tile_rows = 256;
// Their columns stay in the second-level cache, tile_columns of them at a time.
constexpr int64_t most_tile_tokens = 512;

void decode_panel(const Matrix& w, const KernelRow& row, const CpuKernels& cpu, int64_t first, int64_t n,
                  uint16_t* out) {
  const int64_t k = w.cols();
  if (w.decoded() != nullptr) {
    cpu.pack_rows({w.decoded() + first * k, n, k, k, out});
  } else if (row.panel != nullptr) {
    row.panel({w.planes(), first, n, k, out});
  } else {
    auto* rows = scratch<float>(static_cast<size_t>(n * k) * sizeof(float));
    w.decode_rows(first, n, rows, k);
    cpu.pack_rows({rows, n, k, k, out});
  }
}

/// Many tokens: weights become bf16 tiles, once for most_tile_tokens tokens. From lanes while products go on,
/// else before them.
void tile_product(const Matrix& w, const LaneRow* lanes, const CpuKernels& cpu, const Product& p,
                  ThreadPool& pool) {
  const int64_t k = w.cols(), blocks = (k + 31) / 32;
  const KernelRow& row = kernel_for(w.word(), k, isa_level());
  const int64_t fit = lanes != nullptr ? most_tile_rows : most_panel_bytes / (blocks * 64);
  const Shares shares((p.n + tile_rows - 1) / tile_rows, pool.threads(),
                      std::clamp<int64_t>(fit / tile_rows, 1, most_tile_rows / tile_rows));
  for (int64_t from = 0; from < p.m; from += most_tile_tokens) {
    const int64_t m = std::min(most_tile_tokens, p.m - from), groups = (m + 15) / 16;
    auto* tokens = scratch<TokenTile>(static_cast<size_t>(groups * blocks) * sizeof(TokenTile));
    pool.parallel_for(static_cast<size_t>(groups), [&](size_t i) {
      const auto g = static_cast<int64_t>(i);
      cpu.pack_tokens(
          {p.x + (from + g * 16) * k, std::min<int64_t>(16, m - g * 16), k, k, tokens[g * blocks].v});
    });
    pool.parallel_for(shares.count(), [&](size_t i) {
      const int64_t begin = tile_rows * shares.begin(i);
      const int64_t n = std::min(tile_rows * shares.end(i), p.n) - begin;
      auto* sums = scratch<TileSum>(static_cast<size_t>(tile_sums(n, m, k)) * sizeof(TileSum));
      auto* panel = scratch<WeightTile>(lanes != nullptr ? static_cast<size_t>(tile_panels) * sizeof(uint16_t)
                                                         : static_cast<size_t>((n + 15) / 16 * blocks) *
                                                               sizeof(WeightTile));
      TileTask t{nullptr,
                 nullptr,
                 0,
                 nullptr,
                 n,
                 tokens->v,
                 m,
                 k,
                 panel->v,
                 &sums->v,
                 p.y + from * p.y_stride + begin,
                 p.y_stride};
      if (lanes != nullptr) {
        t.lanes = w.lanes_at(p.first + begin);
        t.lane_bytes = w.lanes()->unit_bytes;
        t.lines = lanes->lines;
      } else {
        for (int64_t r = 0; r < n; r += 16)
          decode_panel(w, row, cpu, p.first + begin + r, std::min<int64_t>(16, n - r),
                       panel[r / 16 * blocks].v);
        t.w = panel->v;
      }
      cpu.tiles.run(t);
    });
  }
}

}  // namespace

const char* fast_matmul(const Matrix& w, const Product& p, ThreadPool& pool) {
  const CpuKernels& cpu = cpu_kernels();
  // Experts of a stack may begin anywhere, and the level may have been lowered since.
  const LaneRow* lanes = p.first % lane_rows == 0 ? w.lane_row(cpu) : nullptr;
  const bool whole = lanes != nullptr && !lanes->floats;
  if (cpu.tiles.run != nullptr && p.m >= (whole ? cpu.tiles.from_whole : cpu.tiles.from)) {
    tile_product(w, lanes, cpu, p, pool);
    return cpu.tiles.name;
  }
  if (lanes != nullptr) {
    lane_product(w, *lanes, cpu.lane_ahead, p, pool);
    return lanes->name;
  }
  const KernelRow& row = kernel_for(w.word(), w.cols(), isa_level());
  if (row.dot == nullptr) return nullptr;
  dot_product(w, row, cpu, p, pool);
  return row.name;
}

}  // namespace nibble
