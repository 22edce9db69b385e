#include "kernels/lanes.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/kernel.h"
#include "kernels/lane_layouts.inc"

namespace nibble {
namespace {

constexpr int most_layout_planes = 2;
constexpr size_t most_plane_bytes = 1024;  // of 256 weights

/// The same bytes of 16 rows beside each other: what all formats have in common.
template <class L>
void arrange(const ArrangeTask& t) noexcept {
  static_assert(L::planes <= most_layout_planes && L::bytes[0] <= int64_t{most_plane_bytes});
  const int64_t units = (t.k + unit_weights - 1) / unit_weights;
  std::byte* out = t.out;
  for (int64_t row = 0; row < t.n; row += lane_rows) {
    for (int64_t unit = 0; unit < units; ++unit, out += lane_rows * L::unit_bytes) {
      const int64_t weights = std::min(unit_weights, t.k - unit * unit_weights);
      if (t.n - row < lane_rows) std::memset(out, 0, static_cast<size_t>(lane_rows * L::unit_bytes));
      for (int64_t r = 0; r < std::min(lane_rows, t.n - row); ++r) {
        const std::byte* from[most_layout_planes];
        std::byte tail[most_layout_planes][most_plane_bytes];
        for (int p = 0; p < L::planes; ++p) {
          const int64_t row_bytes = t.k * L::bytes[p] / unit_weights;
          from[p] = t.planes[p] + (t.first + row + r) * row_bytes + unit * L::bytes[p];
          if (weights == unit_weights) continue;
          // What a row has beyond its last whole unit, with zeros after it: whatever they mean meets
          // activations that are zero.
          const auto there = static_cast<size_t>(weights * L::bytes[p] / unit_weights);
          std::memset(tail[p], 0, most_plane_bytes);
          std::memcpy(tail[p], from[p], there);
          from[p] = tail[p];
        }
        for (int i = 0; i < L::words; ++i) {
          const Place at = L::word_at(i);
          uint32_t word;
          std::memcpy(&word, from[at.plane] + at.byte, 4);
          word = L::arranged(i, word);
          std::memcpy(out + 4 * (lane_rows * i + r), &word, 4);
        }
        for (int i = 0; i < L::halves; ++i) {
          const Place at = L::half_at(i);
          std::memcpy(out + 4 * lane_rows * L::words + 2 * (lane_rows * i + r), from[at.plane] + at.byte, 2);
        }
      }
    }
  }
}

template <class L>
constexpr LaneLayout layout(const char* format, int64_t multiple) {
  return {format, multiple, lane_rows * L::unit_bytes, &arrange<L>};
}

constexpr LaneLayout layouts[] = {
    layout<LayoutQ4_0>("q4_0", 32),           layout<LayoutQ4_1>("q4_1", 32),
    layout<LayoutQ5_0>("q5_0", 32),           layout<LayoutQ5_1>("q5_1", 32),
    layout<LayoutQ8_0>("q8_0", 32),           layout<LayoutQ2_K>("q2_k", 256),
    layout<LayoutQ3_K>("q3_k", 256),          layout<LayoutQ4_K>("q4_k", 256),
    layout<LayoutQ5_K>("q5_k", 256),          layout<LayoutQ6_K>("q6_k", 256),
    layout<LayoutQ4_0>("iq4_nl", 32),         layout<LayoutIQ4_XS>("iq4_xs", 256),
    layout<LayoutInt4G128>("int4:g128", 128), layout<LayoutNf4B64>("nf4:b64", 64),
    layout<LayoutHalfFloats>("f16", 1),       layout<LayoutHalfFloats>("bf16", 1),
    layout<LayoutFloats>("f32", 1),
};

}  // namespace

const LaneLayout* lane_layout_of(std::string_view word, int64_t cols) noexcept {
  for (const LaneLayout& l : layouts) {
    if (word == l.format) return cols > 0 && cols % l.cols_multiple == 0 ? &l : nullptr;
  }
  return nullptr;
}

}  // namespace nibble
