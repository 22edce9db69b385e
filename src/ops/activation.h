#pragma once

#include <cmath>

#include "ops/math.h"
#include "ops/op.h"

namespace nibble {

/// y = act(in[0]), times in[1] where there are two inputs (a gated feed-forward block).
extern const Op activation_op;

enum class ActivationKind : uint8_t { silu, gelu_tanh, gelu_erf, relu };

struct ActivationAttributes {
  ActivationKind kind = ActivationKind::silu;
};

/// y[i] = act(x[i]); may be in place.
void activate(ActivationKind kind, const float* x, float* y, int64_t n) noexcept;

}  // namespace nibble
