#include "model/rewrite.h"

namespace nibble {

// Rows 2i and 2i+1 of a head rotate together in canonical order; Hugging Face keeps the first halves of all
// pairs, then the second halves.
int64_t hf_row(Rewrite rewrite, const Hparams& h, int64_t row) noexcept {
  const int64_t d = h.head_dim;
  if (rewrite == Rewrite::rope_rows_q || rewrite == Rewrite::rope_rows_k) {
    const int64_t within = row % d;
    return row - within + (within % 2) * (d / 2) + within / 2;
  }
  if (rewrite == Rewrite::neox_qkv) {
    const int64_t part = row / (h.heads * d);
    const int64_t head = row / d % h.heads;
    return (head * 3 + part) * d + row % d;
  }
  return row;
}

int64_t canonical_row(Rewrite rewrite, const Hparams& h, int64_t row) noexcept {
  const int64_t d = h.head_dim;
  if (rewrite == Rewrite::rope_rows_q || rewrite == Rewrite::rope_rows_k) {
    const int64_t within = row % d;
    return row - within + 2 * (within % (d / 2)) + within / (d / 2);
  }
  if (rewrite == Rewrite::neox_qkv) {
    const int64_t head = row / (3 * d);
    const int64_t part = row / d % 3;
    return (part * h.heads + head) * d + row % d;
  }
  return row;
}

bool moves_rows(Rewrite rewrite) noexcept {
  return rewrite == Rewrite::rope_rows_q || rewrite == Rewrite::rope_rows_k || rewrite == Rewrite::neox_qkv;
}

}  // namespace nibble
