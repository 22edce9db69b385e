#include "methods/transforms/rotation.h"

#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace nibble {
namespace {

/// Rows that Gram and Schmidt make orthonormal, twice over for the sake of rounding.
std::vector<double> random_orthogonal(int64_t n, Rng& rng) {
  const auto size = static_cast<size_t>(n);
  std::vector<double> q(size * size);
  for (double& v : q) v = rng.uniform() + rng.uniform() + rng.uniform() - 1.5;
  for (size_t i = 0; i < size; ++i) {
    double* row = q.data() + i * size;
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        const double* other = q.data() + j * size;
        double dot = 0;
        for (size_t k = 0; k < size; ++k) dot += row[k] * other[k];
        for (size_t k = 0; k < size; ++k) row[k] -= dot * other[k];
      }
    }
    double norm = 0;
    for (size_t k = 0; k < size; ++k) norm += row[k] * row[k];
    norm = 1 / std::sqrt(norm);
    for (size_t k = 0; k < size; ++k) row[k] *= norm;
  }
  return q;
}

}  // namespace

Rotation::Rotation(int64_t n, uint64_t seed) : n_(n), power_(1), odd_(n) {
  if (n < 1) fail(ErrorKind::usage, "there is no rotation of {} channels", n);
  while (odd_ % 2 == 0) {
    odd_ /= 2;
    power_ *= 2;
  }
  if (odd_ > 4096)
    fail(ErrorKind::usage, "a rotation of {} channels would mix {} of them one by one", n, odd_);
  Rng rng(seed);
  sign_.resize(static_cast<size_t>(n));
  const double unit = 1 / std::sqrt(static_cast<double>(power_));
  for (double& s : sign_) s = rng.uniform() < 0.5 ? -unit : unit;
  if (odd_ > 1) mix_ = random_orthogonal(odd_, rng);
}

void Rotation::apply(double* v, double* scratch) const {
  for (int64_t i = 0; i < n_; ++i) v[i] *= sign_[static_cast<size_t>(i)];
  for (int64_t half = 1; half < power_; half *= 2) {
    for (int64_t begin = 0; begin < n_; begin += 2 * half) {
      for (int64_t i = begin; i < begin + half; ++i) {
        const double a = v[i], b = v[i + half];
        v[i] = a + b;
        v[i + half] = a - b;
      }
    }
  }
  if (odd_ == 1) return;
  for (int64_t i = 0; i < power_; ++i) {
    for (int64_t to = 0; to < odd_; ++to) {
      double sum = 0;
      for (int64_t from = 0; from < odd_; ++from)
        sum += v[from * power_ + i] * mix_[static_cast<size_t>(from * odd_ + to)];
      scratch[to] = sum;
    }
    for (int64_t to = 0; to < odd_; ++to) v[to * power_ + i] = scratch[to];
  }
}

void Rotation::turn_rows(std::span<float> x, ThreadPool& pool) const {
  const auto n = static_cast<size_t>(n_);
  if (x.size() % n != 0) fail(ErrorKind::bad_input, "{} values are no rows of {}", x.size(), n_);
  pool.parallel_for(x.size() / n, [&](size_t r) {
    std::vector<double> v(x.begin() + static_cast<ptrdiff_t>(r * n),
                          x.begin() + static_cast<ptrdiff_t>((r + 1) * n));
    std::vector<double> scratch(static_cast<size_t>(odd_));
    apply(v.data(), scratch.data());
    for (size_t i = 0; i < n; ++i) x[r * n + i] = static_cast<float>(v[i]);
  });
}

void Rotation::turn_columns(std::span<float> w, ThreadPool& pool) const {
  const auto n = static_cast<size_t>(n_);
  if (w.size() % n != 0) fail(ErrorKind::bad_input, "{} values are no columns of {}", w.size(), n_);
  const size_t cols = w.size() / n;
  pool.parallel_for(cols, [&](size_t c) {
    std::vector<double> v(n), scratch(static_cast<size_t>(odd_));
    for (size_t i = 0; i < n; ++i) v[i] = w[i * cols + c];
    apply(v.data(), scratch.data());
    for (size_t i = 0; i < n; ++i) w[i * cols + c] = static_cast<float>(v[i]);
  });
}

}  // namespace nibble
