// Attention for every AArch64.
#include "kernels/attend.h"

#if defined(__aarch64__)

#define ATTEND_TABLE neon_attend
#include "kernels/cpu/attend128.inc"

#endif
