#pragma once

#include <span>
#include <vector>

namespace nibble {

/// k centres on the real line with the least weighted squared distance to the points, ascending.
///
/// Up to `exact_points` different points the answer is optimal (dynamic programming over contiguous clusters,
/// divide and conquer: O(k n log n); Gronlund et al. 2017, arXiv 1701.07204). More points are first merged
/// into that many cells, as dense as the cube root of the point density asks for (Panter and Dite 1951), and
/// the centres found for the cells are then refined on all points (Lloyd 1982) until they stand still.
///
/// `weight` is empty or one per point; points without weight do not count, unless none has any. Fewer
/// different points than k: the last centre is repeated. Always the same answer for the same input.
std::vector<float> kmeans_1d(std::span<const float> x, std::span<const float> weight, int k,
                             int exact_points);

}  // namespace nibble
