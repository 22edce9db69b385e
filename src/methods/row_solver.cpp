#include "methods/row_solver.h"

#include <algorithm>
#include <cmath>

#include "kernels/matmul.h"

namespace nibble {
namespace {

constexpr int64_t rows_at_once = 32;
constexpr int64_t panel = 128;
constexpr int64_t long_block = 256;  ///< beyond, parameters are fitted once

/// y += a * x
void add_scaled(float* y, float a, const float* x, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

}  // namespace

RowSolver::RowSolver(const Window& window, const Curvature& curvature)
    : w_(window),
      c_(curvature),
      cols_(window.shape.cols()),
      block_(window.format.block(window.shape)),
      width_(window.format.vector_width()),
      aligned_(cols_ % block_ == 0),
      planes_(window.planes.size()) {
  if (c_.n != cols_)
    fail(ErrorKind::bad_input, "a Hessian of {} inputs met a matrix of {} columns", c_.n, cols_);
  if (cols_ % width_ != 0 || (!aligned_ && width_ > 1)) {
    fail(ErrorKind::unsupported, "rows of {} cannot be cut into the vectors of {} that {} rounds at once",
         cols_, width_, window.format.spec().to_string());
  }
}

void RowSolver::run() {
  const int64_t rows = static_cast<int64_t>(w_.x.size()) / cols_;
  const int64_t step = aligned_ ? rows_at_once : rows;
  for (int64_t row = 0; row < rows; row += step) solve_rows(row, std::min(step, rows - row));
}

RowSolver::Segment RowSolver::segment(int64_t row, int64_t column) const {
  const int64_t flat = row * cols_ + column, b = flat / block_;
  return {column, std::min(cols_, column + (b + 1) * block_ - flat), b, flat - b * block_};
}

void RowSolver::solve_rows(int64_t row, int64_t rows) {
  rows_ = rows;
  x_ = w_.x.data() + row * cols_;
  first_block_ = row * cols_ / block_;
  const auto size = static_cast<size_t>(rows * cols_);
  feed_.assign(size, 0.0f);
  value_.resize(size);
  error_.resize(size);
  codes_.resize(size);
  params_.resize((size + static_cast<size_t>(block_) - 1) / static_cast<size_t>(block_));
  if (!aligned_) fit_all();
  feed_back();
  descend_codes();
  pack_rows();
}

/// Parameters from the weights as they are, where a block is no part of a row.
void RowSolver::fit_all() {
  const int64_t total = rows_ * cols_;
  std::vector<float> weight(static_cast<size_t>(block_));
  for (size_t b = 0; b < params_.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * block_, n = std::min(block_, total - begin);
    for (int64_t i = 0; i < n; ++i)
      weight[static_cast<size_t>(i)] = c_.d[static_cast<size_t>((begin + i) % cols_)];
    block_pointers(w_.info, w_.planes.data(), first_block_ + static_cast<int64_t>(b), planes_.data());
    w_.format.fit(x_ + begin, weight.data(), n, planes_.data(), params_[b]);
  }
}

void RowSolver::feed_back() {
  const int64_t step = block_ <= long_block ? std::max<int64_t>(1, panel / block_) * block_ : panel;
  const CpuKernels& kernels = cpu_kernels();
  for (int64_t from = 0; from < cols_;) {
    int64_t to = std::min(cols_, from + (aligned_ ? step : panel));
    if (aligned_ && block_ > long_block) to = std::min(to, (from / block_ + 1) * block_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t j = from; j < to;) {
        Segment s = segment(r, j);
        s.end = std::min(s.end, to);
        forward(r, s, to);
        j = s.end;
      }
    }
    if (to < cols_) {
      kernels.weighted_sum({error_.data() + from, rows_, cols_, c_.m.data() + from * cols_ + to, to - from,
                            cols_, cols_ - to, feed_.data() + to, cols_});
    }
    from = to;
  }
}

/// What the weights of a block should become if their later columns could still take any value: the errors so
/// far are made up for.
void RowSolver::compensate(int64_t row, const Segment& s, float* target) const {
  const float* feed = feed_.data() + row * cols_;
  const float* x = x_ + row * cols_;
  std::vector<float> f(feed + s.begin, feed + s.end);
  for (int64_t j = s.begin; j < s.end; ++j) {
    const float e = -f[static_cast<size_t>(j - s.begin)];
    target[j - s.begin] = x[j] - e;
    if (e == 0) continue;
    add_scaled(f.data() + (j + 1 - s.begin), e, c_.m.data() + j * cols_ + j + 1, s.end - j - 1);
  }
}

double RowSolver::round_columns(int64_t row, const Segment& s, int64_t to, const Params& params, float* feed,
                                Code* codes, float* values, float* wanted) const {
  const float* x = x_ + row * cols_;
  double loss = 0;
  for (int64_t j = s.begin; j < s.end; j += width_) {
    const int64_t i = j - s.begin;
    for (int64_t k = 0; k < width_; ++k) wanted[i + k] = x[j + k] + feed[i + k];
    for (int64_t k = 1; k < width_; ++k) {
      // Within a vector that is rounded at once, each column is where the others before it would make up.
      for (int64_t l = 0; l < k; ++l)
        wanted[i + k] += (x[j + l] - wanted[i + l]) * c_.m[static_cast<size_t>((j + l) * cols_ + j + k)];
    }
    w_.format.round(wanted + i, s.at + i, width_, params, codes + i, values + i);
    for (int64_t k = 0; k < width_; ++k) {
      const double miss = double{x[j + k]} + feed[i + k] - values[i + k];
      loss += double{c_.d[static_cast<size_t>(j + k)]} * miss * miss;
      add_scaled(feed + i + k + 1, x[j + k] - values[i + k], c_.m.data() + (j + k) * cols_ + j + k + 1,
                 to - j - k - 1);
    }
  }
  return loss;
}

void RowSolver::forward(int64_t row, const Segment& s, int64_t to) {
  const int64_t n = s.end - s.begin, base = row * cols_ + s.begin;
  Params& params = params_[static_cast<size_t>(s.block)];
  float* feed = feed_.data() + base;
  std::vector<float> wanted(static_cast<size_t>(n));
  if (aligned_ && s.at == 0) {
    block_pointers(w_.info, w_.planes.data(), first_block_ + s.block, planes_.data());
    const Segment whole{s.begin, s.begin + block_, s.block, 0};
    std::vector<float> target(static_cast<size_t>(block_));
    compensate(row, whole, target.data());
    w_.format.fit(target.data(), c_.d.data() + s.begin, block_, planes_.data(), params);
  }
  round_columns(row, s, to, params, feed, codes_.data() + base, value_.data() + base, wanted.data());
  for (int64_t j = 0; j < n; ++j)
    error_[static_cast<size_t>(base + j)] = x_[base + j] - value_[static_cast<size_t>(base + j)];
}

void RowSolver::descend_codes() {
  const CpuKernels& kernels = cpu_kernels();
  for (int pass = 0; pass < c_.passes; ++pass) {
    std::fill(feed_.begin(), feed_.end(), 0.0f);
    kernels.weighted_sum(
        {error_.data(), rows_, cols_, c_.h.data(), cols_, cols_, cols_, feed_.data(), cols_});
    int64_t changed = 0;
    for (int64_t j = 0; j < cols_; ++j) {
      const float* h = c_.h.data() + j * cols_;
      const float curvature = h[j], inverse = 1 / curvature;
      for (int64_t r = 0; r < rows_; ++r) {
        const int64_t at = r * cols_ + j;
        const auto u = static_cast<size_t>(at);
        const Segment s = segment(r, j);
        const float slope = feed_[u], wanted = value_[u] + slope * inverse;
        Code code;
        float value;
        w_.format.round(&wanted, s.at, 1, params_[static_cast<size_t>(s.block)], &code, &value);
        const float step = value - value_[u];
        if (!(step * (curvature * step - 2 * slope) < 0)) continue;
        codes_[u] = code;
        value_[u] = value;
        error_[u] = x_[at] - value;
        const float minus = -step;
        kernels.weighted_sum({&minus, 1, 1, h, 1, cols_, cols_, feed_.data() + r * cols_, cols_});
        ++changed;
      }
    }
    if (changed == 0) break;
  }
}

void RowSolver::pack_rows() {
  const int64_t total = rows_ * cols_;
  for (size_t b = 0; b < params_.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * block_;
    block_pointers(w_.info, w_.planes.data(), first_block_ + static_cast<int64_t>(b), planes_.data());
    w_.format.pack(codes_.data() + begin, std::min(block_, total - begin), params_[b], planes_.data());
  }
}

}  // namespace nibble
