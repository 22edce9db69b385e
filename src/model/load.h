#pragma once

#include "model/checkpoint.h"
#include "model/program.h"

namespace nibble {

/// The program of a checkpoint. Weights stay in the mapped files where their bytes can be used as they are.
/// Throws like build_program.
Program load_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options = {});

}  // namespace nibble
