#pragma once

#include "kernels/attend.h"
#include "kernels/cpu/encode.h"
#include "kernels/cpu/integer.h"
#include "kernels/cpu/kernel.h"
#include "kernels/cpu/widen.h"
#include "kernels/isa.h"

namespace nibble {

/// All kernels of a level.
struct LevelKernels {
  CpuKernels cpu;
  const Widen* widen;
  const EncodeRows* encode;
  const EncodeRows* encode_first = nullptr;  ///< looked at before `encode`; null: nothing
  const IntegerKernels* integer;
  AttendKernels attend = {};
};

const LevelKernels& level_kernels(IsaLevel level);
/// Those of the level in use.
inline const LevelKernels& level_kernels() { return level_kernels(isa_level()); }

}  // namespace nibble
