#include "kernels/lanes.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/kernel.h"
#include "kernels/lane_layouts.inc"

namespace nibble {
namespace {

constexpr int most_layout_planes = 2;
constexpr size_t most_plane_bytes = 1024;  // of 256 weights

// Four neighbouring words, or eight halves, of as many rows are turned in registers of 16 bytes, which every
// machine has.
typedef uint32_t Words __attribute__((vector_size(16)));
typedef uint16_t Halves __attribute__((vector_size(16)));

/// a[r][i] to a[i][r].
void turn(Words (&a)[4]) noexcept {
  const Words low01 = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5);
  const Words high01 = __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7);
  const Words low23 = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5);
  const Words high23 = __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
  a[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  a[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  a[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  a[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

void turn(Halves (&a)[8]) noexcept {
  // Pairs of rows side by side make words of two rows each; those are turned as words.
  Words left[4], right[4];
  for (int r = 0; r < 8; r += 2) {
    left[r / 2] = reinterpret_cast<Words>(__builtin_shufflevector(a[r], a[r + 1], 0, 8, 1, 9, 2, 10, 3, 11));
    right[r / 2] =
        reinterpret_cast<Words>(__builtin_shufflevector(a[r], a[r + 1], 4, 12, 5, 13, 6, 14, 7, 15));
  }
  turn(left);
  turn(right);
  for (int i = 0; i < 4; ++i) {
    a[i] = reinterpret_cast<Halves>(left[i]);
    a[4 + i] = reinterpret_cast<Halves>(right[i]);
  }
}

/// Whether n words, or halves, from i on lie side by side.
template <auto place_of, int all, int64_t size>
constexpr bool side_by_side(int i, int n) noexcept {
  if (i + n > all) return false;
  const Place first = place_of(i), last = place_of(i + n - 1);
  return first.plane == last.plane && last.byte == first.byte + (n - 1) * size;
}

/// 256 columns of 16 rows; `from` is where each row has them, of each plane.
template <class L>
void arrange_unit(const std::byte* const (&from)[lane_rows][most_layout_planes], std::byte* out) noexcept {
  for (int i = 0; i < L::words;) {
    const Place at = L::word_at(i);
    std::byte* to = out + 4 * lane_rows * i;
    if (side_by_side<&L::word_at, L::words, 4>(i, 4)) {
      for (int64_t r = 0; r < lane_rows; r += 4) {
        Words w[4];
        for (int64_t j = 0; j < 4; ++j) std::memcpy(&w[j], from[r + j][at.plane] + at.byte, sizeof w[j]);
        turn(w);
        for (int j = 0; j < 4; ++j) {
          w[j] = L::arranged(i + j, w[j]);
          std::memcpy(to + 4 * (lane_rows * j + r), &w[j], sizeof w[j]);
        }
      }
      i += 4;
    } else {
      for (int64_t r = 0; r < lane_rows; ++r) {
        uint32_t word;
        std::memcpy(&word, from[r][at.plane] + at.byte, 4);
        word = L::arranged(i, word);
        std::memcpy(to + 4 * r, &word, 4);
      }
      ++i;
    }
  }
  for (int i = 0; i < L::halves;) {
    const Place at = L::half_at(i);
    std::byte* to = out + 4 * lane_rows * L::words + 2 * lane_rows * i;
    if (side_by_side<&L::half_at, L::halves, 2>(i, 8)) {
      for (int64_t r = 0; r < lane_rows; r += 8) {
        Halves h[8];
        for (int64_t j = 0; j < 8; ++j) std::memcpy(&h[j], from[r + j][at.plane] + at.byte, sizeof h[j]);
        turn(h);
        for (int64_t j = 0; j < 8; ++j) std::memcpy(to + 2 * (lane_rows * j + r), &h[j], sizeof h[j]);
      }
      i += 8;
    } else {
      for (int64_t r = 0; r < lane_rows; ++r) std::memcpy(to + 2 * r, from[r][at.plane] + at.byte, 2);
      ++i;
    }
  }
}

/// The same bytes of 16 rows beside each other: what all formats have in common.
template <class L>
void arrange(const ArrangeTask& t) noexcept {
  static_assert(L::planes <= most_layout_planes && L::bytes[0] <= int64_t{most_plane_bytes});
  const int64_t units = (t.k + unit_weights - 1) / unit_weights;
  std::byte* out = t.out;
  std::byte part[lane_rows][most_layout_planes][most_plane_bytes];
  for (int64_t row = 0; row < t.n; row += lane_rows) {
    for (int64_t unit = 0; unit < units; ++unit, out += lane_rows * L::unit_bytes) {
      const int64_t weights = std::min(unit_weights, t.k - unit * unit_weights);
      const std::byte* from[lane_rows][most_layout_planes];
      for (int64_t r = 0; r < lane_rows; ++r) {
        for (int p = 0; p < L::planes; ++p) {
          const bool exists = row + r < t.n;
          const int64_t row_bytes = t.k * L::bytes[p] / unit_weights;
          if (exists) from[r][p] = t.planes[p] + (t.first + row + r) * row_bytes + unit * L::bytes[p];
          if (exists && weights == unit_weights) continue;
          // What a row has beyond its last whole unit, with zeros after it: whatever they mean meets
          // activations that are zero. Rows that are missing are zeros, too.
          const auto there = static_cast<size_t>(weights * L::bytes[p] / unit_weights);
          std::memset(part[r][p], 0, most_plane_bytes);
          if (exists) std::memcpy(part[r][p], from[r][p], there);
          from[r][p] = part[r][p];
        }
      }
      arrange_unit<L>(from, out);
    }
  }
}

template <class L>
constexpr LaneLayout layout(const char* format, int64_t multiple) {
  return {format, multiple, lane_rows * L::unit_bytes, &arrange<L>};
}

constexpr LaneLayout layouts[] = {
#define LANE_FORMAT(Name, word, Layout, multiple) layout<Layout>(word, multiple),
#include "kernels/lane_formats.inc"
};

}  // namespace

const LaneLayout* lane_layout_of(std::string_view word, int64_t cols) noexcept {
  for (const LaneLayout& l : layouts) {
    if (word == l.format) return cols > 0 && cols % l.cols_multiple == 0 ? &l : nullptr;
  }
  return nullptr;
}

}  // namespace nibble
