#include "kernels/cpu/integer.h"

#if defined(__aarch64__)

#define LANES 4
#define INTEGER_TABLE integer_neon
#define INTEGER_NAME "integer-neon"
#include "kernels/cpu/integer.inc"

#endif
