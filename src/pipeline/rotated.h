#pragma once

#include "base/pool.h"
#include "methods/transforms/rotation.h"
#include "model/checkpoint.h"
#include "pipeline/recipe.h"

namespace nibble {

/// The model with its residual stream turned by a random orthogonal matrix, and the values of each head by a
/// smaller one, the same for all heads (QuaRot, Ashkboos et al., arXiv 2404.00456): gains of norms go into
/// what reads them, the output matrix becomes one of its own where it was the embedding. The function stays
/// the same, so every runtime can run it. Nothing is copied: rows are turned as they are read; of a matrix
/// that writes to the stream all rows are needed at once, which are kept while they are in use (two such
/// matrices, or 128 MiB).
///
/// With RotationWord::online the columns of down projections are turned by the fixed rotation of their width,
/// and turned_inputs() names them: only a runtime that turns their inputs can run the model.
///
/// The pool must outlive it. Throws Error{unsupported} as residual_stream does, for a source that is
/// quantized already or has turned inputs already, and for mixtures of experts whose inputs are to be turned;
/// Error{usage} for sizes that no rotation has.
Checkpoint rotated(const Checkpoint& model, const RotationWord& word, ThreadPool& pool);

/// What a recipe quantizes, and collects statistics of: the model, rotated if it says so. Throws as
/// rotated().
Checkpoint recipe_source(const Checkpoint& model, const Recipe& recipe, ThreadPool& pool);

}  // namespace nibble
