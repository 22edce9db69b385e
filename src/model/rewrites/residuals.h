#pragma once

#include "model/program.h"

namespace nibble {

/// A norm of whole rows takes over the addition that makes what it reads: one pass over the rows and one join
/// instead of two. The same bits.
void join_residuals(Program& program);

}  // namespace nibble
