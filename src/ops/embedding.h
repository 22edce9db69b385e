#pragma once

#include "ops/op.h"

namespace nibble {

/// Tokens of the batch to rows: weights[0] token table [vocab, hidden], weights[1] optional learned positions
/// [positions, hidden], weights[2] optional segment table [types, hidden]. No inputs.
/// Throws Error{bad_input} for a token or position outside of its table.
extern const Op embedding_op;

struct EmbeddingAttributes {
  float scale = 1;              ///< factor on the token's row
  int64_t position_offset = 0;  ///< added to positions before the table is read
};

}  // namespace nibble
