#include "kernels/fast_matmul.h"

#include <algorithm>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/scratch.h"

namespace nibble {
namespace {

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
struct LaneCopy {
  std::byte v;
};
struct Gated {
  float v;
};

// Of weights: less than this is not worth waking a thread for.
constexpr int64_t serial_bytes = 24 * 1024;
constexpr int64_t serial_rounding = 8 * 1024;  // of activations
constexpr int64_t least_piece = 16 * 1024, most_piece = 256 * 1024;

/// Work for several threads. Each begins with a stretch of its own (ThreadPool::parallel_for), in long parts
/// first, because a stream of weights is slow where it starts, then ever shorter ones, which others take over
/// so that all are done at once.
class Shares {
 public:
  /// Parts of `all` units, none longer than `most`.
  Shares(int64_t all, int64_t threads, int64_t most = int64_t{1} << 40)
      : all_(all), stretches_(std::clamp<int64_t>(all, 1, threads)) {
    const int64_t longest = (all + stretches_ - 1) / stretches_;
    for (int64_t at = 0; at < longest; at += std::clamp<int64_t>((longest - at) / 2, 1, most))
      begin_.push_back(at);
    begin_.push_back(longest);
  }
  size_t count() const noexcept { return parts() * static_cast<size_t>(stretches_); }
  int64_t begin(size_t i) const noexcept { return place(i / parts(), begin_[i % parts()]); }
  int64_t end(size_t i) const noexcept { return place(i / parts(), begin_[i % parts() + 1]); }

 private:
  /// Of a stretch that may be shorter than the longest one.
  int64_t place(size_t stretch, int64_t at) const noexcept {
    const auto s = static_cast<int64_t>(stretch);
    return std::min(all_ * s / stretches_ + at, all_ * (s + 1) / stretches_);
  }
  size_t parts() const noexcept { return begin_.size() - 1; }
  int64_t all_, stretches_;
  std::vector<int64_t> begin_;  ///< of the parts of a stretch, and its end
};

/// Several products of the same activations as one row of units of `unit_rows` rows each.
class Units {
 public:
  Units(std::span<const MatmulPart> parts, int64_t unit_rows) : parts_(parts), rows_(unit_rows) {}
  int64_t count() const noexcept {
    int64_t all = 0;
    for (const MatmulPart& p : parts_) all += of(p);
    return all;
  }
  /// Calls f(part, first of its rows, how many) for what units [begin, end) are.
  template <class F>
  void each(int64_t begin, int64_t end, const F& f) const {
    for (const MatmulPart& p : parts_) {
      const int64_t from = std::max<int64_t>(begin, 0), to = std::min(end, of(p));
      if (from < to) f(p, from * rows_, std::min(to * rows_, p.n) - from * rows_);
      begin -= of(p);
      end -= of(p);
    }
  }

 private:
  int64_t of(const MatmulPart& p) const noexcept { return (p.n + rows_ - 1) / rows_; }
  std::span<const MatmulPart> parts_;
  int64_t rows_;
};

/// Products with the weights of a part in lanes; null where there are none. Experts of a stack may begin
/// anywhere, and the level may have been lowered since.
const LaneRow* lanes_of(const MatmulPart& p, const CpuKernels& cpu) noexcept {
  return p.first % lane_rows == 0 ? p.w->lane_row(cpu) : nullptr;
}

/// Rows of a part in lanes: where they stand, or a copy that lives until this thread's next one.
const std::byte* rows_in_lanes(const MatmulPart& p, int64_t first, int64_t n) {
  const Matrix& w = *p.w;
  if (const std::byte* at = w.lanes_at(p.first + first); at != nullptr) return at;
  auto* copy = &scratch<LaneCopy>(w.lane_bytes(n))->v;
  w.write_lanes(p.first + first, n, copy);
  return copy;
}

/// Few tokens: every row is read once, in its own format.
void dot_product(const MatmulPart& p, const KernelRow& row, const CpuKernels& cpu, const float* activations,
                 int64_t m, ThreadPool& pool) {
  const Matrix& w = *p.w;
  const int64_t k = w.cols();
  const void* x = activations;
  if (!row.floats) {
    const int64_t units = (k + unit_weights - 1) / unit_weights;
    auto* rounded = scratch<RoundedUnit>(static_cast<size_t>(m * units) * sizeof(RoundedUnit));
    constexpr auto size = static_cast<int64_t>(sizeof(RoundedUnit));
    cpu.round({activations, m, k, row.bias, reinterpret_cast<std::byte*>(rounded), units * size, size});
    x = rounded;
  }
  const int64_t row_bytes = std::max<int64_t>(1, static_cast<int64_t>(w.tensor().bytes()) / w.rows());
  const int64_t all_bytes = p.n * row_bytes;
  const int64_t piece = std::clamp(all_bytes / (4 * pool.threads()), least_piece, most_piece);
  const int64_t step = std::max<int64_t>(1, piece / row_bytes);
  const auto work = [&](size_t i) {
    const int64_t begin = static_cast<int64_t>(i) * step;
    row.dot({w.planes(), p.first + begin, std::min(step, p.n - begin), k, x, m, p.y + begin, p.y_stride});
  };
  const auto pieces = static_cast<size_t>((p.n + step - 1) / step);
  if (all_bytes * m <= serial_bytes) {
    for (size_t i = 0; i < pieces; ++i) work(i);
  } else {
    pool.parallel_for(pieces, work);
  }
}

// Their sums for 64 rows stay in the second-level cache.
constexpr int64_t most_lane_tokens = 512;

/// Values of m tokens, n of each, `stride` apart, to where they are wanted: rows [first, first + n).
void pass_gate(const Gate& to, const float* gate, const float* up, int64_t stride, int64_t first, int64_t n,
               int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    activate(to.kind, gate + i * stride, up + i * stride, to.y + i * to.y_stride + first, n);
}

/// Weights in lanes, any number of tokens. All parts take activations in the same form. With a gate each task
/// does the same rows of both parts.
void lane_product(std::span<const MatmulPart> parts, const CpuKernels& cpu, const float* activations,
                  int64_t all_m, ThreadPool& pool, const Gate* gate = nullptr) {
  const LaneRow& form = *lanes_of(parts[0], cpu);
  const int64_t k = parts[0].w->cols(), units = (k + unit_weights - 1) / unit_weights;
  int64_t all_bytes = 0;
  for (const MatmulPart& p : parts)
    all_bytes += p.n * std::max<int64_t>(1, static_cast<int64_t>(p.w->tensor().bytes()) / p.w->rows());
  // Kernels of whole numbers do 16 rows at a time, whatever is beside them; bits of floats may depend on
  // which of 64 rows go together.
  const bool few = all_m <= cpu.narrow_tokens, small_units = few && !form.floats;
  const Units rows(gate != nullptr ? parts.first(1) : parts, small_units ? lane_rows : most_lane_rows);
  const Shares shares(rows.count(), pool.threads());
  for (int64_t begin = 0; begin < all_m; begin += most_lane_tokens) {
    const int64_t m = std::min(most_lane_tokens, all_m - begin);
    const float* x = activations + begin * k;
    auto* rounded = scratch<std::byte>(static_cast<size_t>(m * units * form.x_bytes));
    const int64_t step = std::clamp<int64_t>(m / (2 * pool.threads()), 1, 16);
    const auto round = [&](size_t at) {
      const int64_t i = static_cast<int64_t>(at) * step;
      form.round({x + i * k, std::min(step, m - i), k, form.bias, rounded + i * form.x_bytes, form.x_bytes,
                  m * form.x_bytes});
    };
    const auto product = [&](const MatmulPart& p, int64_t first, int64_t n, float* y, int64_t y_stride) {
      auto* sums = scratch<LaneSum>(static_cast<size_t>(m * most_lane_rows) * sizeof(float));
      const LaneRow* row = lanes_of(p, cpu);
      // What has to be copied first stays in the second-level cache for its product.
      const int64_t at_once = p.w->lanes_at(p.first) != nullptr ? n : most_lane_rows;
      for (int64_t i = 0; i < n; i += at_once) {
        const int64_t count = std::min(at_once, n - i);
        row->product({rows_in_lanes(p, first + i, count), count, k, rounded, m, &sums->v, y + i, y_stride,
                      cpu.streams});
      }
    };
    const auto work = [&](size_t at) {
      rows.each(shares.begin(at), shares.end(at), [&](const MatmulPart& p, int64_t first, int64_t n) {
        if (gate == nullptr) return product(p, first, n, p.y + begin * p.y_stride + first, p.y_stride);
        // Both values stay in the second-level cache; one token's streams of weights are not cut for that.
        const int64_t most = few ? n : most_lane_rows;
        auto* values = &scratch<Gated>(static_cast<size_t>(2 * m * most) * sizeof(float))->v;
        const Gate to{gate->kind, gate->y + begin * gate->y_stride, gate->y_stride};
        for (int64_t from = first; from < first + n; from += most) {
          const int64_t count = std::min(most, first + n - from);
          for (size_t i = 0; i < 2; ++i)
            product(parts[i], from, count, values + static_cast<int64_t>(i) * m * most, most);
          pass_gate(to, values, values + m * most, most, from, count, m);
        }
      });
    };
    const auto pieces = static_cast<size_t>((m + step - 1) / step);
    if (m * k <= serial_rounding) {
      for (size_t i = 0; i < pieces; ++i) round(i);
    } else {
      pool.parallel_for(pieces, round);
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

/// Rows [first, first + n) of a part with tokens in tiles.
void tile_rows_product(const MatmulPart& p, int64_t first, int64_t n, const CpuKernels& cpu,
                       const uint16_t* tokens, int64_t m, float* y, int64_t y_stride, bool read_next) {
  const Matrix& w = *p.w;
  const int64_t k = w.cols(), blocks = (k + 31) / 32;
  const LaneRow* lanes = lanes_of(p, cpu);
  TileTask t{};
  t.n = n;
  t.x = tokens;
  t.m = m;
  t.k = k;
  t.sums = &scratch<TileSum>(static_cast<size_t>(tile_sums(n, m, k)) * sizeof(TileSum))->v;
  t.y = y;
  t.y_stride = y_stride;
  t.read_next = read_next;
  if (lanes != nullptr) {
    t.lanes = rows_in_lanes(p, first, n);
    t.lane_bytes = w.lanes()->unit_bytes;
    t.lines = lanes->lines;
    t.panels = scratch<WeightTile>(static_cast<size_t>(tile_panels) * sizeof(uint16_t))->v;
    cpu.tiles.run(t);
    return;
  }
  const KernelRow& row = kernel_for(w.word(), k, isa_level());
  const int64_t most = std::max<int64_t>(32, most_panel_bytes / (blocks * 64) / 32 * 32);
  for (int64_t at = 0; at < n; at += most) {
    t.n = std::min(most, n - at);
    auto* panel = scratch<WeightTile>(static_cast<size_t>((t.n + 15) / 16 * blocks) * sizeof(WeightTile));
    for (int64_t r = 0; r < t.n; r += 16)
      decode_panel(w, row, cpu, p.first + first + at + r, std::min<int64_t>(16, t.n - r),
                   panel[r / 16 * blocks].v);
    t.w = panel->v;
    t.y = y + at;
    cpu.tiles.run(t);
  }
}

/// Many tokens: weights become bf16 tiles, once for most_tile_tokens tokens. From lanes while products go on,
/// else before them.
void tile_product(std::span<const MatmulPart> parts, const CpuKernels& cpu, const float* x, int64_t all_m,
                  ThreadPool& pool, const Gate* gate = nullptr) {
  const int64_t k = parts[0].w->cols(), blocks = (k + 31) / 32;
  const Units rows(gate != nullptr ? parts.first(1) : parts, tile_rows);
  const Shares shares(rows.count(), pool.threads(), most_tile_rows / tile_rows);
  for (int64_t from = 0; from < all_m; from += most_tile_tokens) {
    const int64_t m = std::min(most_tile_tokens, all_m - from), groups = (m + 15) / 16;
    auto* tokens = scratch<TokenTile>(static_cast<size_t>(groups * blocks) * sizeof(TokenTile));
    pool.parallel_for(static_cast<size_t>(groups), [&](size_t i) {
      const auto g = static_cast<int64_t>(i);
      cpu.pack_tokens(
          {x + (from + g * 16) * k, std::min<int64_t>(16, m - g * 16), k, k, tokens[g * blocks].v});
    });
    pool.parallel_for(shares.count(), [&](size_t i) {
      rows.each(shares.begin(i), shares.end(i), [&](const MatmulPart& p, int64_t first, int64_t n) {
        if (gate == nullptr) {
          tile_rows_product(p, first, n, cpu, tokens->v, m, p.y + from * p.y_stride + first, p.y_stride,
                            false);
          return;
        }
        // Both values stay in the second-level cache.
        auto* values = &scratch<Gated>(static_cast<size_t>(2 * m * tile_rows) * sizeof(float))->v;
        const Gate to{gate->kind, gate->y + from * gate->y_stride, gate->y_stride};
        for (int64_t at = first; at < first + n; at += tile_rows) {
          const int64_t count = std::min(tile_rows, first + n - at);
          for (size_t part = 0; part < 2; ++part)
            tile_rows_product(parts[part], at, count, cpu, tokens->v, m,
                              values + static_cast<int64_t>(part) * m * tile_rows, tile_rows, true);
          pass_gate(to, values, values + m * tile_rows, tile_rows, at, count, m);
        }
      });
    });
  }
}

bool wants_tiles(const LaneRow* lanes, const CpuKernels& cpu, int64_t m) noexcept {
  const bool whole = lanes != nullptr && !lanes->floats;
  return cpu.tiles.run != nullptr && m >= (whole ? cpu.tiles.from_whole : cpu.tiles.from);
}

/// The first part and those right after it that fulfil a condition.
template <class F>
std::span<const MatmulPart> like(std::span<const MatmulPart> parts, const F& fits) {
  size_t n = 1;
  while (n < parts.size() && parts[n].w->precision() == Precision::fast && fits(parts[n])) ++n;
  return parts.first(n);
}

}  // namespace

bool fast_gated_matmul(std::span<const MatmulPart> parts, const Gate& to, const float* x, int64_t m,
                       ThreadPool& pool, const char*& name) {
  const CpuKernels& cpu = cpu_kernels();
  const LaneRow *gate = lanes_of(parts[0], cpu), *up = lanes_of(parts[1], cpu);
  const bool tiles = wants_tiles(gate, cpu, m);
  if (parts[1].w->precision() != Precision::fast || tiles != wants_tiles(up, cpu, m)) return false;
  if (tiles) {
    tile_product(parts, cpu, x, m, pool, &to);
    name = cpu.tiles.name;
    return true;
  }
  if (gate == nullptr || up == nullptr || gate->round != up->round || gate->bias != up->bias) return false;
  lane_product(parts, cpu, x, m, pool, &to);
  name = gate->name;
  return true;
}

size_t fast_matmul(std::span<const MatmulPart> parts, const float* x, int64_t m, ThreadPool& pool,
                   const char*& name) {
  const CpuKernels& cpu = cpu_kernels();
  const LaneRow* lanes = lanes_of(parts[0], cpu);
  if (wants_tiles(lanes, cpu, m)) {
    parts = like(parts, [&](const MatmulPart& p) { return wants_tiles(lanes_of(p, cpu), cpu, m); });
    tile_product(parts, cpu, x, m, pool);
    name = cpu.tiles.name;
    return parts.size();
  }
  if (lanes != nullptr) {
    parts = like(parts, [&](const MatmulPart& p) {
      const LaneRow* other = lanes_of(p, cpu);
      return other != nullptr && !wants_tiles(other, cpu, m) && other->round == lanes->round &&
             other->bias == lanes->bias;
    });
    lane_product(parts, cpu, x, m, pool);
    name = lanes->name;
    return parts.size();
  }
  const KernelRow& row = kernel_for(parts[0].w->word(), parts[0].w->cols(), isa_level());
  if (row.dot == nullptr) return 0;
  dot_product(parts[0], row, cpu, x, m, pool);
  name = row.name;
  return 1;
}

}  // namespace nibble
