#pragma once

#include <cstdint>

#include "formats/grid_sums.h"

namespace nibble {

/// Weights to be put on a uniform grid: x, their importance in the squared error (null: all alike), and how
/// many. The search depends on nothing else and always gives the same answer, whatever way of summing (null:
/// that of every machine) is the fastest.
struct GridData {
  const float* x;
  const float* weight;
  int64_t n;
  GridSums sums = nullptr;
};

/// A uniform grid w = (code - zero) * scale with codes 0 ... levels.
struct UniformGrid {
  float scale = 0;
  float zero = 0;
};

/// Least-squares scale for a fixed integer zero point and codes [low, levels]; `both_signs` tries negative
/// scales too, which turn the longer side of an even grid around. Starts from the scale that clips nothing,
/// walks down a ladder of smaller ones, and ends with alternating minimization (codes for the scale, scale in
/// closed form for the codes).
UniformGrid search_scale(const GridData& data, int low, int levels, int zero, bool both_signs);
/// The same with the integer zero point in [0, levels] as a second unknown.
UniformGrid search_scale_and_zero(const GridData& data, int levels);
/// Least squares over scale and a real zero point, which may lie outside of the codes.
UniformGrid search_affine(const GridData& data, int levels);

/// Weighted squared error of the data on a grid. `integer_zero` says how weights are rounded: x / scale
/// before the zero point is added, or after.
double grid_error(const GridData& data, const UniformGrid& grid, int low, int levels, bool integer_zero);

/// Least and greatest of n numbers.
struct MinMax {
  float min, max;
};
MinMax min_max(const float* x, int64_t n) noexcept;

}  // namespace nibble
