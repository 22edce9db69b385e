#pragma once

#include <memory>
#include <vector>

#include "kernels/encode.h"
#include "kernels/matmul.h"
#include "methods/curvature.h"

namespace nibble {

/// Rounds a window of rows against a Hessian. Rows do not depend on each other (but for blocks that straddle
/// two of them), so a few are carried through all columns at once, block by block of the format:
///  1. feedback: the parameters of a block are fitted to what its weights should be after the errors so far,
///     then column after column is rounded and its error fed to the columns that follow. With static groups
///     (row_static.cpp) all parameters are fitted beforehand, so that the columns may take their turns in any
///     order;
///  2. descent (row_descent.cpp): with everything rounded, single codes and the parameters of whole blocks
///     change wherever that lowers e H eᵀ.
/// What each step gains: docs/solvers.md.
class RowSolver {
 public:
  RowSolver(const Window& window, const Curvature& curvature);
  void run();

 private:
  /// Where a weight stands.
  struct Place {
    int64_t block;  ///< among the blocks of the rows at hand
    int64_t at;     ///< position in the block
  };
  /// Consecutive turns of columns that stand side by side in one block of a row: with act-order, of a single
  /// one.
  struct Segment {
    int64_t begin, end;  ///< turns
    int64_t block, at;   ///< place of the first
  };
  /// One block in another rounding, to be compared with the one at hand.
  struct Trial {
    Params params;
    std::vector<float> feed, values, wanted;  ///< [block]
    std::vector<Code> codes;
  };

  static constexpr int most_refits = 2;

  void solve_rows(int64_t row, int64_t rows);
  Place place(int64_t row, int64_t column) const noexcept;
  Segment segment(int64_t row, int64_t turn) const noexcept;
  void point_at(int64_t block);
  bool short_blocks() const noexcept;

  float importance(int64_t column) const noexcept;
  void fit_all(const float* x);
  void take_turns();
  void restore_order();
  template <class T>
  void restore(std::vector<T>& all) const;
  void feed_back();
  double loss(int64_t row) const;
  void refit();
  void fit_block(int64_t row, const Segment& s);
  void forward(int64_t row, const Segment& s, int64_t to);
  double round_columns(int64_t row, const Segment& s, int64_t to, const Params& params, float* feed,
                       Code* codes, float* values, float* wanted) const;
  void compensate(int64_t row, const Segment& s, float* target);

  void descend();
  int64_t descend_codes();
  int64_t descend_parameters();
  bool try_block(int64_t row, int64_t column, float share);

  void pack_rows();

  const Window& w_;
  const Curvature& c_;
  const SumKernels& sums_;
  BlockFitter fitter_;
  int64_t cols_, block_, width_;
  bool aligned_;             ///< blocks end where rows end
  bool static_;              ///< all parameters are fitted before the first column is rounded
  int64_t rows_ = 0;         ///< at hand
  int64_t first_block_ = 0;  ///< of the rows at hand within the window
  const float* x_ = nullptr;
  // During the feedback x, feed, value, error and codes stand by turns, afterwards by columns.
  std::vector<float> feed_;           ///< [rows, cols] sum of e_i m_ij; in the descent the slope e H
  std::vector<float> value_, error_;  ///< [rows, cols] decoded weights, and x minus them
  std::vector<Code> codes_;
  std::vector<Params> params_;  ///< of each block of the rows at hand
  std::vector<std::byte*> planes_;
  std::unique_ptr<Trial> trial_;
  std::vector<float> target_, scratch_, weight_, wanted_;
  const float* given_ = nullptr;  ///< the weights by columns, while they are wanted by turns
  std::vector<float> turned_;     ///< [rows, cols] by turns; empty unless the order is another one
};

}  // namespace nibble
