// Rounding with AVX-512 and VNNI, which adds up products of int16 as it makes them: searches that run on
// blocks side by side. The others are the same as without it.
#include "kernels/cpu/encode.h"

#if defined(__x86_64__)

#define LANES 16
#define ENCODE_TABLE encode_vnni
#define ENCODE_SIDE_BY_SIDE_ONLY
#include "kernels/cpu/encode.inc"

#endif
