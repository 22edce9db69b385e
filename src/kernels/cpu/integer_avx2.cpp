#include "kernels/cpu/integer.h"

#if defined(__x86_64__)

#define LANES 8
#define INTEGER_TABLE integer_avx2
#define INTEGER_NAME "integer-avx2"
#include "kernels/cpu/integer.inc"

#endif
