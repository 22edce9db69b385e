#include <algorithm>
#include <cmath>
#include <utility>

#include "methods/row_solver.h"

// Parameters that are fitted before the first column is rounded, and columns that take their turns in another
// order. A format stores the group of a weight by its place: if the order decided which weights share
// parameters, it would have to be stored as well (g_idx).

namespace nibble {

/// What an error in a column costs the fit of its block. Of static groups it is known neither how much the
/// columns still to come make up for, nor what they are asked for: the mean of all and nothing.
float RowSolver::importance(int64_t column) const noexcept {
  const float d = c_.d[static_cast<size_t>(column)];
  return c_.static_groups ? std::sqrt(d * c_.diagonal[static_cast<size_t>(column)]) : d;
}

/// Parameters of all blocks, from weights by columns.
void RowSolver::fit_all(const float* x) {
  const int64_t total = rows_ * cols_;
  for (size_t b = 0; b < params_.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * block_, n = std::min(block_, total - begin);
    for (int64_t i = 0; i < n; ++i) weight_[static_cast<size_t>(i)] = importance((begin + i) % cols_);
    point_at(static_cast<int64_t>(b));
    fitter_.fit(x + begin, weight_.data(), n, planes_.data(), params_[b]);
  }
}

/// From the order of columns to that of turns.
void RowSolver::take_turns() {
  if (c_.order.empty()) return;
  turned_.resize(value_.size());
  for (int64_t r = 0; r < rows_; ++r) {
    const float* x = x_ + r * cols_;
    float* turned = turned_.data() + r * cols_;
    for (const int64_t column : c_.order) *turned++ = x[column];
  }
  given_ = std::exchange(x_, turned_.data());
}

/// And back, with everything rounded.
void RowSolver::restore_order() {
  if (c_.order.empty()) return;
  restore(value_);
  restore(error_);
  restore(codes_);
  x_ = given_;
}

/// Rows by turns become rows by columns.
template <class T>
void RowSolver::restore(std::vector<T>& all) const {
  std::vector<T> row(static_cast<size_t>(cols_));
  for (auto begin = all.begin(); begin != all.end(); begin += cols_) {
    for (int64_t t = 0; t < cols_; ++t) row[static_cast<size_t>(c_.column(t))] = begin[t];
    std::copy(row.begin(), row.end(), begin);
  }
}

/// What a rounded row adds to e H eᵀ.
double RowSolver::loss(int64_t row) const {
  double sum = 0;
  for (int64_t t = 0; t < cols_; ++t) {
    const auto at = static_cast<size_t>(row * cols_ + t);
    const double miss = double{x_[at]} + feed_[at] - value_[at];
    sum += double{c_.d[static_cast<size_t>(c_.column(t))]} * miss * miss;
  }
  return sum;
}

/// Static groups are fitted again to what their weights were in the end asked for, and everything is rounded
/// anew; a row keeps the parameters and codes that cost it least.
void RowSolver::refit() {
  const int refits = std::min(c_.passes, most_refits);
  if (refits == 0) return;
  std::vector<double> least;
  for (int64_t r = 0; r < rows_; ++r) least.push_back(loss(r));
  std::vector<float> value = value_, error = error_, asked(value_.size());
  std::vector<Code> codes = codes_;
  std::vector<Params> params = params_;
  const auto keep = [this](int64_t row, const auto& from, auto& to) {
    const auto n = static_cast<int64_t>(from.size()) / rows_;
    std::copy_n(from.begin() + row * n, n, to.begin() + row * n);
  };
  for (int k = 0; k < refits; ++k) {
    for (size_t i = 0; i < asked.size(); ++i) asked[i] = x_[i] + feed_[i];
    restore(asked);
    fit_all(asked.data());
    std::fill(feed_.begin(), feed_.end(), 0.0f);
    feed_back();
    for (int64_t r = 0; r < rows_; ++r) {
      const double now = loss(r);
      if (!(now < least[static_cast<size_t>(r)])) continue;
      least[static_cast<size_t>(r)] = now;
      keep(r, value_, value);
      keep(r, error_, error);
      keep(r, codes_, codes);
      keep(r, params_, params);
    }
  }
  value_.swap(value);
  error_.swap(error);
  codes_.swap(codes);
  params_.swap(params);
}

}  // namespace nibble
