#pragma once

#include "ops/op.h"

namespace nibble {

/// y = in[0] + in[1]
extern const Op add_op;

/// y = cap * tanh(x / cap) (Gemma 2). Attributes: SoftcapAttributes.
extern const Op softcap_op;
struct SoftcapAttributes {
  float cap = 0;
};

/// The selected rows of the batch.
extern const Op select_rows_op;

}  // namespace nibble
