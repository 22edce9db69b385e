#include "kernels/cpu/kernel.h"

#define LANES 4
#define BLOCK_M 2
#define BLOCK_N 1
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/generic.inc"
#define ENCODE_TABLE encode_scalar
#include "kernels/cpu/encode.inc"
#define WIDEN_TABLE widen_scalar
#include "kernels/cpu/int8.inc"
#include "kernels/cpu/widen.inc"

namespace nibble {
namespace {

constexpr KernelRow rows[] = {{"f32-scalar", nullptr, 1, 0, false, &products, nullptr, nullptr}};

}  // namespace

const CpuKernels cpu_scalar = {rows,
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
                               int8_kernels("int8-scalar"),
                               elementwise_kernels()};

}  // namespace nibble
