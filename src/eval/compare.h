#pragma once

#include <string>
#include <vector>

#include "base/pool.h"
#include "base/progress.h"
#include "eval/distortion.h"
#include "model/checkpoint.h"

namespace nibble {

/// A tensor of a model beside the same tensor of its original.
struct TensorComparison {
  std::string name;  ///< canonical
  FormatSpec format;
  Shape shape;
  Distortion distortion;
};

/// Decodes every tensor of `model` and of `original` window by window and measures the difference. The result
/// does not depend on the number of threads. Throws Error{bad_input} naming tensors that only one of them has
/// or whose shapes differ: they are not the same model.
std::vector<TensorComparison> compare_tensors(const Checkpoint& model, const Checkpoint& original,
                                              ThreadPool& pool, Progress& progress);

}  // namespace nibble
