#include "methods/readers.h"

#include <algorithm>

#include "base/error.h"

namespace nibble {

ReaderHessian::ReaderHessian(int64_t cols) : cols_(cols), sum_(static_cast<size_t>(cols * cols)) {}

void ReaderHessian::add(std::span<const float> weights, std::span<const float> gain, ThreadPool& pool) {
  const auto n = static_cast<size_t>(cols_);
  if (n == 0 || weights.size() % n != 0 || (!gain.empty() && gain.size() != n)) {
    fail(ErrorKind::bad_input, "a reader of {} weights and {} gains does not fit rows of {}", weights.size(),
         gain.size(), cols_);
  }
  std::vector<double> x(weights.begin(), weights.end());
  for (size_t i = 0; !gain.empty() && i < x.size(); ++i) x[i] *= gain[i % n];
  const size_t rows = weights.size() / n;
  pool.parallel_for(n, [&](size_t i) {
    double* sum = sum_.data() + i * n;
    for (size_t r = 0; r < rows; ++r) {
      const double* row = x.data() + r * n;
      const double v = row[i];
      for (size_t j = i; j < n; ++j) sum[j] += v * row[j];
    }
  });
}

std::vector<float> ReaderHessian::hessian() const {
  const auto n = static_cast<size_t>(cols_);
  std::vector<float> h(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j)
      h[i * n + j] = static_cast<float>(sum_[std::min(i, j) * n + std::max(i, j)]);
  }
  return h;
}

}  // namespace nibble
