#include <algorithm>

#include "kernels/matmul.h"
#include "methods/row_solver.h"

// Coordinate descent on e H eᵀ after the feedback. With the slope g = e H at hand, moving weight j's decoded
// value by t changes the error by t (H_jj t - 2 g_j) exactly; each move then updates the slope by one row of
// H.

namespace nibble {

void RowSolver::descend() {
  if (width_ != 1 || c_.passes <= 0) return;  // a vector's codes cannot move one at a time
  std::fill(feed_.begin(), feed_.end(), 0.0f);
  sums_.weighted_sum({error_.data(), rows_, cols_, c_.h.data(), cols_, cols_, cols_, feed_.data(), cols_});
  for (int pass = 0; pass < c_.passes; ++pass) {
    int64_t moves = descend_codes();
    // Parameters last would leave codes that are no longer the best.
    if (pass + 1 < c_.passes) moves += descend_parameters();
    if (moves == 0) return;
  }
}

/// One round over all weights: the code nearest to where weight j, all others held, has the least error.
int64_t RowSolver::descend_codes() {
  int64_t moves = 0;
  for (int64_t j = 0; j < cols_; ++j) {
    const float* h = c_.h.data() + j * cols_;
    const float curvature = h[j], inverse = 1 / curvature;
    for (int64_t r = 0; r < rows_; ++r) {
      const auto at = static_cast<size_t>(r * cols_ + j);
      const Place p = place(r, j);
      const float slope = feed_[at], wanted = value_[at] + slope * inverse;
      Code code;
      float value;
      w_.format.round(&wanted, p.at, 1, params_[static_cast<size_t>(p.block)], &code, &value);
      const float step = value - value_[at];
      if (!(step * (curvature * step - 2 * slope) < 0)) continue;
      codes_[at] = code;
      value_[at] = value;
      error_[at] = x_[at] - value;
      const float minus = -step;
      sums_.weighted_sum({&minus, 1, 1, h, 1, cols_, cols_, feed_.data() + r * cols_, cols_});
      ++moves;
    }
  }
  return moves;
}

/// One round over all blocks: parameters fitted to where each weight would have the least error, the whole
/// way or half of it (all move at once, which may go too far).
int64_t RowSolver::descend_parameters() {
  if (!short_blocks() || block_ == 1) return 0;
  int64_t moves = 0;
  for (int64_t column = 0; column < cols_; column += block_) {
    for (int64_t j = 0; j < block_; ++j)
      weight_[static_cast<size_t>(j)] = c_.diagonal[static_cast<size_t>(column + j)];
    for (int64_t r = 0; r < rows_; ++r) moves += try_block(r, column, 1.0f) || try_block(r, column, 0.5f);
  }
  return moves;
}

bool RowSolver::try_block(int64_t row, int64_t column, float share) {
  const int64_t base = row * cols_ + column;
  Trial& t = *trial_;
  const float* slope = feed_.data() + base;
  float* value = value_.data() + base;
  for (int64_t j = 0; j < block_; ++j)
    target_[static_cast<size_t>(j)] = value[j] + share * slope[j] / weight_[static_cast<size_t>(j)];
  point_at(base / block_);
  fitter_.fit(target_.data(), weight_.data(), block_, planes_.data(), t.params);
  w_.format.round(target_.data(), 0, block_, t.params, t.codes.data(), t.values.data());
  float* step = t.wanted.data();
  for (int64_t j = 0; j < block_; ++j) step[j] = t.values[static_cast<size_t>(j)] - value[j];
  std::fill(scratch_.begin(), scratch_.end(), 0.0f);
  sums_.weighted_sum({step, 1, block_, c_.h.data() + column * cols_ + column, block_, cols_, block_,
                      scratch_.data(), block_});
  double change = 0;
  for (int64_t j = 0; j < block_; ++j)
    change += double{step[j]} * (double{scratch_[static_cast<size_t>(j)]} - 2 * double{slope[j]});
  if (!(change < 0)) return false;
  params_[static_cast<size_t>(base / block_)] = t.params;
  for (int64_t j = 0; j < block_; ++j) {
    const auto at = static_cast<size_t>(base + j);
    value_[at] = t.values[static_cast<size_t>(j)];
    codes_[at] = t.codes[static_cast<size_t>(j)];
    error_[at] = x_[at] - value_[at];
    step[j] = -step[j];
  }
  sums_.weighted_sum({step, 1, block_, c_.h.data() + column * cols_, block_, cols_, cols_,
                      feed_.data() + row * cols_, cols_});
  return true;
}

}  // namespace nibble
