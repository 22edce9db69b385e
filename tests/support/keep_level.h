#pragma once

#include "kernels/isa.h"

namespace nibble::test {

/// Puts back the level that was in use when it was made: tests go through all of them.
struct KeepLevel {
  IsaLevel level = isa_level();

  KeepLevel() = default;
  KeepLevel(const KeepLevel&) = delete;
  KeepLevel& operator=(const KeepLevel&) = delete;
  ~KeepLevel() { set_isa_level(level); }
};

}  // namespace nibble::test
