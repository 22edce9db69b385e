#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

/// A module of a model and what stands below it: the dotted names of its tensors, cut at every dot.
struct ModuleSize {
  std::string name;  ///< "model.layers.0.mlp"; the root has none
  int depth = 0;     ///< the root has 0
  uint64_t weights = 0;
  uint64_t bytes = 0;
  int tensors = 0;
};

struct NamedSize {
  std::string name;  ///< of a tensor
  uint64_t weights = 0;
  uint64_t bytes = 0;
};

/// Every module down to `depth`, each before its children, in the order in which the tensors first name them.
/// Modules that only differ by a number and have equal sizes stand once, as "model.layers.0-21", with their
/// sum.
std::vector<ModuleSize> module_sizes(const std::vector<NamedSize>& tensors, int depth);

}  // namespace nibble
