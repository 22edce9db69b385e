// Attention for AArch64 with dot products of bytes.
#include "kernels/attend.h"

#if defined(__aarch64__)

#define BYTE_DOTS
#define ATTEND_TABLE dotprod_attend
#include "kernels/cpu/attend128.inc"

#endif
