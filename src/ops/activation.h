#pragma once

#include "kernels/elementwise.h"
#include "ops/op.h"

namespace nibble {

/// y = act(in[0]), times in[1] where there are two inputs (a gated feed-forward block).
extern const Op activation_op;

struct ActivationAttributes {
  ActivationKind kind = ActivationKind::silu;
};

}  // namespace nibble
