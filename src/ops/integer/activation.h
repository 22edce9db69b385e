#pragma once

#include "kernels/cpu/integer.h"
#include "ops/op.h"

namespace nibble {

/// y = act(in[0]), times in[1] where there are two inputs, in whole numbers: SiLU and GELU by exponentials of
/// base 2 and Newton's reciprocal. Attributes: IntegerActivation.
extern const Op integer_activation_op;

struct IntegerActivation {
  IntegerFunction function = IntegerFunction::silu;
};

}  // namespace nibble
