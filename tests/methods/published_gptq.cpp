#include "methods/published_gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble::test {
namespace {

/// By Gauss and Jordan.
std::vector<double> inverse_of(std::vector<double> h, int64_t n) {
  std::vector<double> inverse(h.size());
  for (int64_t j = 0; j < n; ++j) inverse[static_cast<size_t>(j * n + j)] = 1;
  for (int64_t j = 0; j < n; ++j) {
    const double pivot = h[static_cast<size_t>(j * n + j)];
    for (int64_t k = 0; k < n; ++k) {
      h[static_cast<size_t>(j * n + k)] /= pivot;
      inverse[static_cast<size_t>(j * n + k)] /= pivot;
    }
    for (int64_t i = 0; i < n; ++i) {
      const double f = h[static_cast<size_t>(i * n + j)];
      for (int64_t k = 0; i != j && k < n; ++k) {
        h[static_cast<size_t>(i * n + k)] -= f * h[static_cast<size_t>(j * n + k)];
        inverse[static_cast<size_t>(i * n + k)] -= f * inverse[static_cast<size_t>(j * n + k)];
      }
    }
  }
  return inverse;
}

/// U with a = UᵀU.
std::vector<double> upper_factor(const std::vector<double>& a, int64_t n) {
  std::vector<double> u(a.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = a[static_cast<size_t>(i * n + j)];
      for (int64_t k = 0; k < i; ++k)
        sum -= u[static_cast<size_t>(k * n + i)] * u[static_cast<size_t>(k * n + j)];
      u[static_cast<size_t>(i * n + j)] = i == j ? std::sqrt(sum) : sum / u[static_cast<size_t>(i * n + i)];
    }
  }
  return u;
}

}  // namespace

PublishedGptq published_gptq(const Problem& p, double damping, bool act_order, const Quantize& quantize) {
  const int64_t n = p.shape.cols();
  std::vector<int64_t> perm(static_cast<size_t>(n));
  std::iota(perm.begin(), perm.end(), 0);
  const auto diagonal = [&](int64_t j) { return p.hessian[static_cast<size_t>(j * n + j)]; };
  if (act_order) {
    std::sort(perm.begin(), perm.end(), [&](int64_t a, int64_t b) {
      return diagonal(a) != diagonal(b) ? diagonal(a) > diagonal(b) : a < b;
    });
  }
  double mean = 0;
  for (int64_t j = 0; j < n; ++j) mean += diagonal(j) / static_cast<double>(n);
  std::vector<double> h;
  for (const int64_t i : perm) {
    for (const int64_t j : perm)
      h.push_back(double{p.hessian[static_cast<size_t>(i * n + j)]} + (i == j ? damping * mean : 0));
  }
  const std::vector<double> u = upper_factor(inverse_of(h, n), n);
  PublishedGptq result{std::vector<float>(p.weights.size()), std::vector<double>(perm.size())};
  for (int64_t j = 0; j < n; ++j)
    result.u[static_cast<size_t>(perm[static_cast<size_t>(j)])] = u[static_cast<size_t>(j * n + j)];
  for (int64_t r = 0; r < p.shape.rows(); ++r) {
    std::vector<double> w;
    for (const int64_t j : perm) w.push_back(p.weights[static_cast<size_t>(r * n + j)]);
    for (int64_t j = 0; j < n; ++j) {
      const int64_t column = perm[static_cast<size_t>(j)];
      const double v = quantize(r, column, w[static_cast<size_t>(j)]),
                   error = (w[static_cast<size_t>(j)] - v) / u[static_cast<size_t>(j * n + j)];
      for (int64_t k = j; k < n; ++k) w[static_cast<size_t>(k)] -= error * u[static_cast<size_t>(j * n + k)];
      result.q[static_cast<size_t>(r * n + column)] = static_cast<float>(v);
    }
  }
  return result;
}

}  // namespace nibble::test
