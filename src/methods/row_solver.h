#pragma once

#include <vector>

#include "methods/curvature.h"

namespace nibble {

/// Rounds a window of rows against a Hessian. Rows do not depend on each other (but for blocks that straddle
/// two of them), so a few are carried through all columns at once, block by block of the format:
///  1. feedback: the parameters of a block are fitted to what its weights should be after the errors so far,
///     then column after column is rounded and its error fed to the columns that follow;
///  2. descent: with everything rounded, codes move one at a time where that lowers e H eᵀ.
class RowSolver {
 public:
  RowSolver(const Window& window, const Curvature& curvature);
  void run();

 private:
  /// The part of a block that lies in one row.
  struct Segment {
    int64_t begin, end;  ///< columns
    int64_t block;       ///< among the blocks of the rows at hand
    int64_t at;          ///< position of `begin` in the block
  };

  void solve_rows(int64_t row, int64_t rows);
  Segment segment(int64_t row, int64_t column) const;
  void fit_all();
  void feed_back();
  void forward(int64_t row, const Segment& s, int64_t to);
  double round_columns(int64_t row, const Segment& s, int64_t to, const Params& params, float* feed,
                       Code* codes, float* values, float* wanted) const;
  void compensate(int64_t row, const Segment& s, float* target) const;
  void descend_codes();
  void pack_rows();

  const Window& w_;
  const Curvature& c_;
  int64_t cols_, block_, width_;
  bool aligned_;             ///< blocks end where rows end
  int64_t rows_ = 0;         ///< at hand
  int64_t first_block_ = 0;  ///< of the rows at hand within the window
  const float* x_ = nullptr;
  std::vector<float> feed_, value_;  ///< [rows, cols]; feed: sum of e_i m_ij, later the gradient e H
  std::vector<float> error_;         ///< [rows, cols]
  std::vector<Code> codes_;
  std::vector<Params> params_;  ///< of each block of the rows at hand
  std::vector<std::byte*> planes_;
};

}  // namespace nibble
