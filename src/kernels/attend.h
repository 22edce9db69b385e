#pragma once

#include <cstdint>

namespace nibble {

/// Attention of some tokens' heads to the one key head they share, with a running softmax over blocks of
/// keys. Row r of the task is token r / group, head r % group: at q + token * q_stride + head * d, and so in
/// out.
struct AttendTask {
  const float* q;
  float* out;
  int64_t q_stride;
  int64_t tokens, group, d;
  const void *k, *v;  ///< of position 0; f16 if half, else f32
  int64_t kv_stride;  ///< in elements
  bool half;
  float scale;
  int64_t position;  ///< of the first token
  int64_t keys;      ///< positions that exist
  int64_t window;    ///< as in AttentionAttributes
  bool causal;
};

/// tokens * group and d of a task may not exceed these; d must be a multiple of 32.
constexpr int64_t attend_rows = 128, attend_dim = 256;

/// What a level offers for attention.
struct AttendKernels {
  void (*attend)(const AttendTask&) noexcept = nullptr;
  void (*narrow)(const float* x, int64_t n, uint16_t* f16) noexcept = nullptr;
};

#if defined(__x86_64__)
/// In bf16 tiles.
extern const AttendKernels amx_attend;
#endif

}  // namespace nibble
