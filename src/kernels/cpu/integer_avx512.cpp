#include "kernels/cpu/integer.h"

#if defined(__x86_64__)

#define LANES 16
#define INTEGER_TABLE integer_avx512
#define INTEGER_NAME "integer-avx512"
#include "kernels/cpu/integer.inc"

#endif
