#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nibble {

/// Rows [first, first + n) of a weight put into lanes of 16 rows: word by word of four bytes, each beside the
/// same word of the other rows; rows that are missing are zero.
struct ArrangeTask {
  const std::byte* const* planes;  ///< of the whole tensor
  int64_t first, n, k;
  std::byte* out;  ///< LaneLayout::unit_bytes for each 256 columns of 16 rows
};

/// How a format's weights stand in lanes (lane_layouts.inc): the same bytes in another order, the same at
/// every level.
struct LaneLayout {
  const char* format;
  int64_t cols_multiple;  ///< rows must be a multiple of this long
  int64_t unit_bytes;     ///< of 256 columns of 16 rows
  void (*arrange)(const ArrangeTask&) noexcept;
};

/// The layout of a format (its canonical word) with rows of `cols`; null where it has none.
const LaneLayout* lane_layout_of(std::string_view word, int64_t cols) noexcept;

}  // namespace nibble
