#include "kernels/cpu/integer.h"

#define LANES 4
#define INTEGER_TABLE integer_scalar
#define INTEGER_NAME "integer-scalar"
#include "kernels/cpu/integer.inc"
