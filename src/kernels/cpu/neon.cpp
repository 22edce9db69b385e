#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#define LANES 4
#define BLOCK_M 4
#define BLOCK_N 1
#include "kernels/cpu/generic.inc"

namespace nibble {
namespace {

constexpr KernelRow rows[] = {{"f32-neon", nullptr, &products}};

}  // namespace

const CpuKernels cpu_neon = {rows, 1, &products, &weighted_sum};

}  // namespace nibble

#endif
