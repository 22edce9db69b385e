#pragma once

#include <cstdint>

namespace nibble {

/// How a product may round.
enum class Precision : uint8_t {
  exact,  ///< f32 activations and sums in a fixed order: the same bits at every level and in every batch
  fast    ///< activations rounded to 8 bits or bf16, weights to bf16 (many tokens), sums in f32: see
          ///< docs/kernels.md
};

}  // namespace nibble
