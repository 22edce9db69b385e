#pragma once

#include <string>

#include "base/pool.h"

// What this machine can do at most, found in the same run as the speeds that are compared with it.

namespace nibble {

/// Bytes a second that all threads of the pool together read from memory: the best of a few passes over a
/// buffer of `bytes`, which should be larger than the caches.
double read_bandwidth(ThreadPool& pool, size_t bytes = size_t{512} << 20);

struct MatrixPeak {
  double flops = 0;       ///< per second, all threads; a multiply-add counts as two
  std::string_view unit;  ///< what was used: "bf16 tiles", "f32 multiply-add", ...
};
/// What the multiply-add units of the level in use give on operands in registers.
MatrixPeak matrix_peak(ThreadPool& pool);

}  // namespace nibble
