#include "kernels/widen.h"

#include "kernels/cpu/widen.h"
#include "kernels/isa.h"

namespace nibble {
namespace {

const Widen& widen_kernels() {
  switch (isa_level()) {
#if defined(__x86_64__)
    case IsaLevel::avx2:
      return widen_avx2;
    case IsaLevel::avx512:
    case IsaLevel::amx:
      return widen_avx512;
#elif defined(__aarch64__)
    case IsaLevel::neon:
      return widen_neon;
#endif
    default:
      return widen_scalar;
  }
}

}  // namespace

void widen_f16(const std::byte* in, float* out, int64_t n) noexcept { widen_kernels().f16(in, out, n); }
void widen_bf16(const std::byte* in, float* out, int64_t n) noexcept { widen_kernels().bf16(in, out, n); }
void narrow_f16(const float* x, uint16_t* out, int64_t n) noexcept { widen_kernels().to_f16(x, out, n); }

int32_t magnitude_bits(const float* x, int64_t n) noexcept { return widen_kernels().magnitude(x, n); }

}  // namespace nibble
