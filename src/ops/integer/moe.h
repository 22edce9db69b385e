#pragma once

#include "kernels/integer_matmul.h"
#include "ops/op.h"

namespace nibble {

/// moe_op in whole numbers: the same choice of experts, softmax of scores with 31 bits, experts by
/// integer_matmul. Attributes: IntegerMoe.
extern const Op integer_moe_op;

struct IntegerMoe {
  int64_t used = 0;
  bool renormalize = true;  ///< weights of the chosen experts sum to one
  IntegerFunction function = IntegerFunction::silu;
  std::shared_ptr<const IntegerMatrix> router;                       ///< [experts, hidden]
  std::vector<std::shared_ptr<const IntegerMatrix>> gate, up, down;  ///< by expert
};

}  // namespace nibble
