#pragma once

#include "kernels/fixed.h"
#include "ops/op.h"

namespace nibble {

/// attention_op in whole numbers, inputs and outputs alike. Each head of queries and keys is brought to
/// mantissas of 11 to 14 bits with one exponent (as many as 32-bit sums over the head allow), of values to 10
/// bits; keys and values are kept so. Exponentials have base 2 and 31 bits, the weights of values 15.
///
/// The cache (integer_kv_format) holds kv_heads * head_dim mantissas and kv_heads exponents for each
/// position, in records of 16 positions, four to a page: keys as [head][head_dim / 2][16][2], values as
/// [8][kv_heads * head_dim][2], then exponents as [head][16].
extern const Op integer_attention_op;

/// int16 throughout, and nothing that other attention could read: its functions are null.
extern const KvFormat integer_kv_format;

struct IntegerAttention {
  int64_t layer = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;  ///< head_dim is even
  int64_t window = 0;
  bool causal = true;
  Dyadic scale;     ///< times log2(e)
  Dyadic turn;      ///< 2 scale log2(e) / softcap; 0: no cap
  int32_t cap = 0;  ///< softcap * log2(e) in Q16
};

}  // namespace nibble
