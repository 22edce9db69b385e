#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

/// One way of storing a tensor.
struct Choice {
  uint64_t bytes = 0;
  double loss = 0;  ///< divergence that it is expected to cost
};

/// Picks one choice a tensor so that the sum of losses is small and the sum of bytes is at most `budget`: the
/// lower convex hull of every tensor, taken in the order of loss saved per byte (the Lagrangian solution),
/// then what is left of the budget spent on single changes and on exchanges between two tensors while the
/// loss falls. Returns the index of each tensor's choice; empty if even the smallest do not fit.
std::vector<size_t> choose_within(std::span<const std::vector<Choice>> tensors, uint64_t budget);

/// The least bytes that any assignment takes, and those of the assignment with the least loss.
uint64_t least_bytes(std::span<const std::vector<Choice>> tensors);
uint64_t most_bytes(std::span<const std::vector<Choice>> tensors);

double loss_of(std::span<const std::vector<Choice>> tensors, std::span<const size_t> picked);
uint64_t bytes_of(std::span<const std::vector<Choice>> tensors, std::span<const size_t> picked);

}  // namespace nibble
