#include "methods/linalg.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/matmul.h"

namespace nibble::linalg {
namespace {

constexpr int64_t panel = 64;

/// The block [begin, end) of the diagonal, unblocked, from its last column up.
bool factor_block(double* a, int64_t n, int64_t begin, int64_t end) noexcept {
  for (int64_t j = end - 1; j >= begin; --j) {
    double* row = a + j * n;
    double pivot = row[j];
    for (int64_t k = j + 1; k < end; ++k) pivot -= row[k] * row[k];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    row[j] = std::sqrt(pivot);
    const double inverse = 1 / row[j];
    for (int64_t i = begin; i < j; ++i) {
      double* above = a + i * n;
      double sum = above[j];
      for (int64_t k = j + 1; k < end; ++k) sum -= above[k] * row[k];
      above[j] = sum * inverse;
    }
  }
  return true;
}

/// A factored block of the diagonal, by columns.
struct Factored {
  int64_t width = 0;
  std::vector<double> columns;

  Factored(const double* a, int64_t n, int64_t begin, int64_t end) : width(end - begin) {
    columns.resize(static_cast<size_t>(width * width));
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t i = 0; i <= j; ++i)
        columns[static_cast<size_t>(j * width + i)] = a[(begin + i) * n + begin + j];
    }
  }
  /// A row of the panel above: r = a R_block^-T. Each value, once known, is taken off all that need it.
  void solve(double* row) const noexcept {
    for (int64_t j = width - 1; j >= 0; --j) {
      const double* column = columns.data() + j * width;
      const double known = row[j] /= column[j];
      for (int64_t i = 0; i < j; ++i) row[i] -= known * column[i];
    }
  }
};

}  // namespace

bool factor_upper(std::span<double> matrix, int64_t n, ThreadPool& pool, Precision precision) {
  double* a = matrix.data();
  const auto subtract = sums_of(precision).subtract_products;
  std::vector<double> transposed;
  for (int64_t end = n; end > 0; end = std::max<int64_t>(0, end - panel)) {
    const int64_t begin = std::max<int64_t>(0, end - panel), width = end - begin;
    if (!factor_block(a, n, begin, end)) return false;
    // The panel above, and its transpose, along whose rows the rest can be updated.
    transposed.resize(static_cast<size_t>(width * begin));
    const Factored block(a, n, begin, end);
    const auto strips = static_cast<size_t>((begin + panel - 1) / panel);
    pool.parallel_for(strips, [&](size_t s) {
      const int64_t from = static_cast<int64_t>(s) * panel, to = std::min(begin, from + panel);
      for (int64_t i = from; i < to; ++i) {
        block.solve(a + i * n + begin);
        for (int64_t k = 0; k < width; ++k)
          transposed[static_cast<size_t>(k * begin + i)] = a[i * n + begin + k];
      }
    });
    pool.parallel_for(strips, [&](size_t s) {
      // Columns in pieces that stay in the cache while all rows of the strip pass.
      const int64_t from = static_cast<int64_t>(s) * panel, to = std::min(begin, from + panel);
      constexpr int64_t piece = 64;
      for (int64_t left = from; left < begin; left += piece) {
        const int64_t right = std::min(begin, left + piece);
        subtract({a + from * n + left, to - from, n, a + from * n + begin, n, transposed.data() + left, begin,
                  right - left, width});
      }
    });
  }
  return true;
}

}  // namespace nibble::linalg
