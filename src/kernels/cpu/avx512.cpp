#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

#define LANES 16
#define BLOCK_M 4
#define BLOCK_N 4
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/generic.inc"
#define ENCODE_TABLE encode_avx512
#include "kernels/cpu/encode.inc"
#include "kernels/cpu/int8.inc"
#define WIDEN_TABLE widen_avx512
#include "kernels/cpu/widen.inc"

namespace nibble {
namespace {

constexpr KernelRow rows[] = {{"f32-avx512", nullptr, 1, 0, false, &products, nullptr, nullptr}};

}  // namespace

const CpuKernels cpu_avx512 = {rows,
                               1,
                               &products,
                               sum_kernels<false>(),
                               sum_kernels<true>(),
                               &read_bytes,
                               {&peak_f32, "f32 products and sums"},
                               nullptr,
                               nullptr,
                               nullptr,
                               {},
                               int8_kernels("int8-avx512"),
                               elementwise_kernels()};

}  // namespace nibble

#endif
