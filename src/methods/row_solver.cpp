#include "methods/row_solver.h"

#include <algorithm>
#include <cmath>

#include "kernels/matmul.h"

namespace nibble {
namespace {

constexpr int64_t rows_at_once = 64;
constexpr int64_t panel = SplitTriangle::panel;  ///< columns whose errors are fed to all later ones together
constexpr int64_t long_block = 256;              ///< beyond, the parameters are fitted once

constexpr int64_t vector_floats = 16;

/// y[i] += a * x[i] for i in [begin, end). Begins before, but not before `least`, where that fills vectors:
/// what stands there is not looked at any more.
void add_scaled(const SumKernels& sums, float* y, float a, const float* x, int64_t least, int64_t begin,
                int64_t end) noexcept {
  const int64_t whole = (end - begin + vector_floats - 1) / vector_floats * vector_floats;
  const int64_t from = std::max(least, end - whole), n = end - from;
  if (n > 0) sums.weighted_sum({&a, 1, 1, x + from, 1, n, n, y + from, n});
}

}  // namespace

RowSolver::RowSolver(const Window& window, const Curvature& curvature)
    : w_(window),
      c_(curvature),
      sums_(sums_of(curvature.precision)),
      fitter_(window.format, isa_level()),
      cols_(window.shape.cols()),
      block_(window.format.block(window.shape)),
      width_(window.format.vector_width()),
      aligned_(cols_ % block_ == 0),
      static_(!aligned_ || c_.static_groups),
      planes_(window.planes.size()),
      trial_(std::make_unique<Trial>()) {
  if (c_.n != cols_)
    fail(ErrorKind::bad_input, "a Hessian of {} inputs met a matrix of {} columns", c_.n, cols_);
  if (cols_ % width_ != 0 || (!aligned_ && width_ > 1)) {
    fail(ErrorKind::unsupported, "rows of {} cannot be cut into the vectors of {} that {} rounds at once",
         cols_, width_, window.format.spec().to_string());
  }
  if (!c_.order.empty() && width_ > 1) {
    throw Error(ErrorKind::unsupported,
                fmt::format("act-order takes single columns, and {} rounds {} neighbours at once",
                            window.format.spec().to_string(), width_),
                "leave act-order out for this format");
  }
  const auto n = static_cast<size_t>(block_);
  trial_->feed.resize(n);
  trial_->values.resize(n);
  trial_->wanted.resize(n);
  trial_->codes.resize(n);
  target_.resize(n);
  scratch_.resize(n);
  weight_.resize(n);
  wanted_.resize(n);
}

void RowSolver::run() {
  const int64_t rows = static_cast<int64_t>(w_.x.size()) / cols_;
  // Parts of about the same size: each reads the whole factor.
  const int64_t parts = (rows + rows_at_once - 1) / rows_at_once;
  const int64_t step = aligned_ && parts > 0 ? (rows + parts - 1) / parts : rows;
  for (int64_t row = 0; row < rows; row += step) solve_rows(row, std::min(step, rows - row));
}

void RowSolver::solve_rows(int64_t row, int64_t rows) {
  rows_ = rows;
  x_ = w_.x.data() + row * cols_;
  first_block_ = row * cols_ / block_;
  const auto size = static_cast<size_t>(rows * cols_);
  feed_.assign(static_cast<size_t>(SplitTriangle::padded_rows(rows) * cols_) + 15, 0.0f);
  value_.resize(size);
  error_.resize(size);
  codes_.resize(size);
  params_.resize((size + static_cast<size_t>(block_) - 1) / static_cast<size_t>(block_));
  if (static_) fit_all(x_);
  take_turns();
  feed_back();
  if (c_.static_groups && aligned_) refit();
  restore_order();
  descend();
  pack_rows();
}

RowSolver::Place RowSolver::place(int64_t row, int64_t column) const noexcept {
  const int64_t flat = row * cols_ + column, b = flat / block_;
  return {b, flat - b * block_};
}

RowSolver::Segment RowSolver::segment(int64_t row, int64_t turn) const noexcept {
  const Place p = place(row, c_.column(turn));
  const int64_t length = c_.order.empty() ? block_ - p.at : 1;
  return {turn, std::min(cols_, turn + length), p.block, p.at};
}

void RowSolver::point_at(int64_t block) {
  block_pointers(w_.info, w_.planes.data(), first_block_ + block, planes_.data());
}

bool RowSolver::short_blocks() const noexcept { return aligned_ && block_ <= long_block; }

void RowSolver::feed_back() {
  const int64_t step = short_blocks() ? std::max<int64_t>(1, panel / block_) * block_ : panel;
  for (int64_t from = 0; from < cols_;) {
    int64_t to = std::min(cols_, from + step);
    // A long block begins with a panel, so that the errors before it have reached all of it.
    if (aligned_ && !short_blocks()) to = std::min(to, (from / block_ + 1) * block_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t j = from; j < to;) {
        Segment s = segment(r, j);
        s.end = std::min(s.end, to);
        forward(r, s, to);
        j = s.end;
      }
    }
    if (to < cols_ && !c_.split.empty() && from % panel == 0 && to % panel == 0) {
      c_.split.add(from, to, error_.data(), rows_, cols_, feed_.data(), cols_);
    } else if (to < cols_) {
      sums_.weighted_sum({error_.data() + from, rows_, cols_, c_.m.data() + from * cols_ + to, to - from,
                          cols_, cols_ - to, feed_.data() + to, cols_});
    }
    from = to;
  }
}

/// What the weights of a block should become if its later columns could still take any value: the errors so
/// far are made up for.
void RowSolver::compensate(int64_t row, const Segment& s, float* target) {
  const float* x = x_ + row * cols_;
  std::copy_n(feed_.data() + row * cols_ + s.begin, s.end - s.begin, scratch_.data());
  for (int64_t j = s.begin; j < s.end; ++j) {
    const int64_t i = j - s.begin;
    const float e = -scratch_[static_cast<size_t>(i)];
    target[i] = x[j] - e;
    if (e != 0)
      add_scaled(sums_, scratch_.data(), e, c_.m.data() + j * cols_ + s.begin, 0, i + 1, s.end - s.begin);
  }
}

/// Rounds the columns of a segment one after the other and feeds their errors to those before `to`; the loss
/// is what the segment adds to e H eᵀ if all later columns make up for it.
double RowSolver::round_columns(int64_t row, const Segment& s, int64_t to, const Params& params, float* feed,
                                Code* codes, float* values, float* wanted) const {
  const float* x = x_ + row * cols_;
  double loss = 0;
  for (int64_t j = s.begin; j < s.end; j += width_) {
    const int64_t i = j - s.begin;
    for (int64_t k = 0; k < width_; ++k) {
      wanted[i + k] = x[j + k] + feed[i + k];
      // Within a vector that is rounded at once, each column makes up for the others before it.
      for (int64_t l = 0; l < k; ++l)
        wanted[i + k] += (x[j + l] - wanted[i + l]) * c_.m[static_cast<size_t>((j + l) * cols_ + j + k)];
    }
    w_.format.round(wanted + i, s.at + i, width_, params, codes + i, values + i);
    for (int64_t k = 0; k < width_; ++k) {
      const double miss = double{x[j + k]} + feed[i + k] - values[i + k];
      loss += double{c_.d[static_cast<size_t>(c_.column(j + k))]} * miss * miss;
      // Static groups are fitted again to what was asked for: there, what was fed to rounded columns must
      // stay.
      const int64_t least = c_.static_groups ? i + k + 1 : 0;
      add_scaled(sums_, feed, x[j + k] - values[i + k], c_.m.data() + (j + k) * cols_ + s.begin, least,
                 i + k + 1, to - s.begin);
    }
  }
  return loss;
}

/// Parameters of a block, from its compensated weights; a short block is rounded on trial, and fitted again
/// to the weights that each column was in the end asked for, as long as that lowers the loss.
void RowSolver::fit_block(int64_t row, const Segment& s) {
  Params& params = params_[static_cast<size_t>(s.block)];
  const float* weight = c_.d.data() + s.begin;
  point_at(s.block);
  compensate(row, s, target_.data());
  fitter_.fit(target_.data(), weight, block_, planes_.data(), params);
  const int refits = std::min(c_.passes, most_refits);
  if (!short_blocks() || block_ == 1 || refits == 0) return;
  Trial& t = *trial_;
  t.params = params;
  double least = INFINITY;
  for (int k = 0; k <= refits; ++k) {
    std::copy_n(feed_.data() + row * cols_ + s.begin, block_, t.feed.data());
    const double loss = round_columns(row, s, s.end, t.params, t.feed.data(), t.codes.data(), t.values.data(),
                                      t.wanted.data());
    if (!(loss < least)) return;
    least = loss;
    params = t.params;
    if (k < refits) fitter_.fit(t.wanted.data(), weight, block_, planes_.data(), t.params);
  }
}

void RowSolver::forward(int64_t row, const Segment& s, int64_t to) {
  const int64_t base = row * cols_ + s.begin;
  if (!static_ && s.at == 0) fit_block(row, {s.begin, s.begin + block_, s.block, 0});
  round_columns(row, s, to, params_[static_cast<size_t>(s.block)], feed_.data() + base, codes_.data() + base,
                value_.data() + base, wanted_.data());
  for (int64_t i = base; i < base + s.end - s.begin; ++i)
    error_[static_cast<size_t>(i)] = x_[i] - value_[static_cast<size_t>(i)];
}

void RowSolver::pack_rows() {
  const int64_t total = rows_ * cols_;
  for (size_t b = 0; b < params_.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * block_;
    point_at(static_cast<int64_t>(b));
    w_.format.pack(codes_.data() + begin, std::min(block_, total - begin), params_[b], planes_.data());
  }
}

}  // namespace nibble
