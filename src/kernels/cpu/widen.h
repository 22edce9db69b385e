#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

/// Functions of kernels/widen.h.
struct Widen {
  void (*f16)(const std::byte* in, float* out, int64_t n) noexcept;
  void (*bf16)(const std::byte* in, float* out, int64_t n) noexcept;
  void (*to_f16)(const float* x, uint16_t* out, int64_t n) noexcept;
  int32_t (*magnitude)(const float* x, int64_t n) noexcept;
};

extern const Widen widen_scalar;
#if defined(__x86_64__)
extern const Widen widen_avx2;
extern const Widen widen_avx512;
#elif defined(__aarch64__)
extern const Widen widen_neon;
#endif

}  // namespace nibble
