#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/grid_sums.h"

namespace nibble {

/// Consecutive blocks of a tensor to be rounded to the nearest grid points.
struct EncodeTask {
  const float* x;           ///< finite
  const float* importance;  ///< one weight per column, or null
  int64_t cols;
  int64_t column;  ///< of the first weight
  int64_t blocks;
  std::byte* out;
};

/// What a format has of its own at this level; null where it has none.
struct EncodeRow {
  const char* format;  ///< FormatInfo::name
  /// Writes exactly what the format's fit, round and pack would.
  void (*run)(const EncodeTask&) noexcept;
  /// Finds exactly the parameters of one block that the format's fit would.
  void (*fit)(const float* x, const float* importance, void* params) noexcept;
};

struct EncodeRows {
  const EncodeRow* rows;
  int count;
  GridSums grid;  ///< for formats without a line whose search is made of such sums
};

extern const EncodeRows encode_scalar;
#if defined(__x86_64__)
extern const EncodeRows encode_avx2;
extern const EncodeRows encode_avx512;
extern const EncodeRows encode_vnni;  ///< what AVX-512 with VNNI has beyond it
#elif defined(__aarch64__)
extern const EncodeRows encode_neon;
#endif

}  // namespace nibble
