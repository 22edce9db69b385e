#pragma once

#include <cstddef>
#include <cstdint>

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

/// Writes exactly what the format's fit, round and pack would. Null where the format has no search for blocks
/// side by side.
struct EncodeRow {
  const char* format;  ///< FormatInfo::name
  void (*run)(const EncodeTask&) noexcept;
};

struct EncodeRows {
  const EncodeRow* rows;
  int count;
};

extern const EncodeRows encode_scalar;
#if defined(__x86_64__)
extern const EncodeRows encode_avx2;
extern const EncodeRows encode_avx512;
#elif defined(__aarch64__)
extern const EncodeRows encode_neon;
#endif

}  // namespace nibble
