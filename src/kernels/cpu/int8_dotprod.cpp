// Products of whole numbers of 8 bits for AArch64 with dot products of bytes.
#include "kernels/cpu/kernel.h"

#if defined(__aarch64__)

#define LANES 4
#define BLOCK_M 4
#define BLOCK_N 1
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/int8_dots128.inc"
// What follows uses what stands above.
#define INT8_DOTS
#include "kernels/cpu/int8.inc"

namespace nibble {

const Int8Kernels int8_dotprod = int8_kernels("int8-dotprod");

}  // namespace nibble

#endif
