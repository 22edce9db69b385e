#pragma once

#include "kernels/matmul.h"

namespace nibble {

/// matmul by the kernels of the level in use for Precision::fast, of as many of the first parts as go
/// together. Returns how many that were, and in `name` what did it; 0 where the level has nothing better than
/// the exact product. Called by matmul.
size_t fast_matmul(std::span<const MatmulPart> parts, const float* x, int64_t m, ThreadPool& pool,
                   const char*& name);
/// gated_matmul of a gate and what it gates, by the same kernels; false, and nothing was done, where they do
/// not go together. Called by gated_matmul.
bool fast_gated_matmul(std::span<const MatmulPart> parts, const Gate& to, const float* x, int64_t m,
                       ThreadPool& pool, const char*& name);

}  // namespace nibble
