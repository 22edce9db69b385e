#pragma once

#include <vector>

#include "base/pool.h"
#include "model/checkpoint.h"

namespace nibble {

/// A Hessian [hidden, hidden] for rows that are looked up, from what reads them (methods/readers.h): the
/// query, key and value matrices of the first layer behind its norm's gain. Empty if the model has none.
std::vector<float> embedding_hessian(const Checkpoint& model, ThreadPool& pool);

}  // namespace nibble
