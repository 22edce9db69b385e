#pragma once

#include "ops/activation_scheme.h"
#include "ops/linear.h"

namespace nibble {

/// linear_op over rounded activations: the same weights, and integer products where the matrix is made of
/// whole numbers. An activation may be part of those.
extern const Op int8_linear_op;

/// A range that follows what is seen. Shared by the copies of a node.
struct RunningRange {
  float low = 0, high = 0;
  bool seen = false;
};

struct Int8LinearAttributes {
  LinearAttributes linear;
  ActivationGrid grid;
  /// The rows in use, repacked; null: the rounded activations meet the matrix as linear_op reads it.
  std::shared_ptr<const Int8Matrix> matrix;
  std::shared_ptr<RunningRange> running;  ///< null: the grid says it all
  /// Applied to the result; asks for a matrix.
  std::optional<ActivationKind> activation;
};

}  // namespace nibble
