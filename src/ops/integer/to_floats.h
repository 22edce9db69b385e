#pragma once

#include "ops/op.h"

namespace nibble {

/// Whole numbers to floats: the border behind the last operation on whole numbers.
extern const Op to_floats_op;

}  // namespace nibble
