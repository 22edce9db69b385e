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

/// Row i of the panel above a factored block: r = a R_block^-T.
void solve_row(double* row, const double* a, int64_t n, int64_t begin, int64_t end) noexcept {
  for (int64_t j = end - 1; j >= begin; --j) {
    const double* right = a + j * n;
    double sum = row[j];
    for (int64_t k = j + 1; k < end; ++k) sum -= row[k] * right[k];
    row[j] = sum / right[j];
  }
}

}  // namespace

bool factor_upper(std::span<double> matrix, int64_t n, ThreadPool& pool) {
  double* a = matrix.data();
  const auto subtract = cpu_kernels().subtract_products;
  std::vector<double> transposed;
  for (int64_t end = n; end > 0; end = std::max<int64_t>(0, end - panel)) {
    const int64_t begin = std::max<int64_t>(0, end - panel), width = end - begin;
    if (!factor_block(a, n, begin, end)) return false;
    // The panel above, and its transpose, along whose rows the rest can be updated.
    transposed.resize(static_cast<size_t>(width * begin));
    const auto strips = static_cast<size_t>((begin + panel - 1) / panel);
    pool.parallel_for(strips, [&](size_t s) {
      const int64_t from = static_cast<int64_t>(s) * panel, to = std::min(begin, from + panel);
      for (int64_t i = from; i < to; ++i) {
        solve_row(a + i * n, a, n, begin, end);
        for (int64_t k = 0; k < width; ++k)
          transposed[static_cast<size_t>(k * begin + i)] = a[i * n + begin + k];
      }
    });
    pool.parallel_for(strips, [&](size_t s) {
      // Columns in pieces that stay in the cache while all rows of the strip pass.
      const int64_t from = static_cast<int64_t>(s) * panel, to = std::min(begin, from + panel);
      constexpr int64_t piece = 256;
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
