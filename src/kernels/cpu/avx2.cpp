#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

#define LANES 8
#define BLOCK_M 2
#define BLOCK_N 2
#include "kernels/cpu/generic.inc"
#define ENCODE_TABLE encode_avx2
#include "kernels/cpu/encode.inc"

namespace nibble {
namespace {

constexpr KernelRow rows[] = {{"f32-avx2", nullptr, 1, 0, false, &products, nullptr, nullptr}};

}  // namespace

const CpuKernels cpu_avx2 = {
    rows,    1,       &products, &weighted_sum, &read_bytes, {&peak_f32, "f32 products and sums"}, nullptr,
    nullptr, nullptr, {}};

}  // namespace nibble

#endif
