#pragma once

#include "kernels/fixed.h"
#include "ops/op.h"

namespace nibble {

/// y = in[0] + in[1] in whole numbers.
extern const Op integer_add_op;

/// y = cap * tanh(x / cap) in whole numbers. Attributes: IntegerSoftcap.
extern const Op integer_softcap_op;
struct IntegerSoftcap {
  Dyadic cap, turn;  ///< the cap, and 2 log2(e) / cap
};

/// The selected rows of the batch, in whole numbers.
extern const Op integer_select_rows_op;

}  // namespace nibble
