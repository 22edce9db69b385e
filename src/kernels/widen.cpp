#include "kernels/widen.h"

#include "kernels/levels.h"

namespace nibble {

void widen_f16(const std::byte* in, float* out, int64_t n) noexcept {
  level_kernels().widen->f16(in, out, n);
}
void widen_bf16(const std::byte* in, float* out, int64_t n) noexcept {
  level_kernels().widen->bf16(in, out, n);
}
void narrow_f16(const float* x, uint16_t* out, int64_t n) noexcept {
  level_kernels().widen->to_f16(x, out, n);
}

int32_t magnitude_bits(const float* x, int64_t n) noexcept { return level_kernels().widen->magnitude(x, n); }

}  // namespace nibble
