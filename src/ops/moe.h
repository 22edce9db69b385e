#pragma once

#include "ops/activation.h"
#include "ops/op.h"

namespace nibble {

/// Mixture of experts (Shazeer et al. 2017; Mixtral): softmax of the router's scores, the `used` largest (the
/// lower index wins a tie), and the sum of their gated feed-forward blocks times those weights. weights:
/// router [experts, hidden]; gate, up [experts, inner, hidden]; down [experts, hidden, inner].
extern const Op moe_op;

struct MoeAttributes {
  int64_t experts = 0, used = 0;
  bool renormalize = true;  ///< weights of the chosen experts sum to one
  ActivationKind activation = ActivationKind::silu;
};

}  // namespace nibble
