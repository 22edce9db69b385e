#pragma once

#include "arch/arch.h"
#include "tensor/shape.h"

// The arithmetic of Rewrite: which row of the Hugging Face tensor is which row of the canonical one.

namespace nibble {

/// Row of the Hugging Face tensor that is row `row` of the canonical tensor (rope_rows_*, neox_qkv; the row
/// itself for the others).
int64_t hf_row(Rewrite rewrite, const Hparams& h, int64_t row) noexcept;
/// Its inverse.
int64_t canonical_row(Rewrite rewrite, const Hparams& h, int64_t row) noexcept;
/// Whether the rewrite changes the order of rows.
bool moves_rows(Rewrite rewrite) noexcept;

}  // namespace nibble
