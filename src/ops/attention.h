#pragma once

#include "ops/op.h"

namespace nibble {

/// Scaled dot-product attention with grouped queries: in[0] queries [rows, heads * head_dim], in[1] keys and
/// in[2] values [rows, kv_heads * head_dim]. Keys and values are first written to what their sequence
/// remembers (SequenceRows::kv[layer]), in the format it is kept in; then every query sees what is stored
/// there. Scores are made block by block with a running
/// softmax (Milakov and Gimelshein 2018; Dao et al. 2022), so nothing of size tokens x tokens exists. Key
/// blocks start at multiples of 64 positions: the result for a token does not depend on how the sequence was
/// cut into batches, to the bit. With Precision::fast and kernels for the format (kernels/attend.h) queries
/// may be rounded to 8 bits or all to bf16, sums are f32, and batches differ in rounding.
extern const Op attention_op;

struct AttentionAttributes {
  int64_t layer = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;
  float softcap = 0;   ///< 0: none; else scores become cap * tanh(score / cap)
  int64_t window = 0;  ///< 0: all; else a query sees this many positions, its own included
  bool causal = true;
  Precision precision = Precision::exact;
};

}  // namespace nibble
