#pragma once

#include "model/checkpoint.h"
#include "model/program.h"

namespace nibble {

/// The program of a model on disk. Weights that are stored in canonical order stay in the mapped file. Throws what
/// build_program throws.
Program build_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options = {});

}  // namespace nibble
