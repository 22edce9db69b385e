#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/integer_matmul.h"
#include "ops/run_op.h"
#include "support/keep_level.h"

namespace nibble::test {

/// Rows of whole numbers outside of any program.
struct FixedRows {
  int64_t cols = 0;
  std::vector<int32_t> mantissas;
  std::vector<int32_t> exponents;

  int64_t rows() const { return static_cast<int64_t>(exponents.size()); }
  Value value() { return {reinterpret_cast<float*>(mantissas.data()), rows(), cols, exponents.data()}; }
  std::vector<double> values() const {
    std::vector<double> x;
    for (size_t i = 0; i < mantissas.size(); ++i)
      x.push_back(std::ldexp(mantissas[i], exponents[i / static_cast<size_t>(cols)]));
    return x;
  }
};

/// The nearest rows with mantissas of `bits` bits.
inline FixedRows fixed_rows(const std::vector<double>& x, int64_t cols, int bits = mantissa_bits) {
  FixedRows r{cols, {}, {}};
  for (size_t begin = 0; begin < x.size(); begin += static_cast<size_t>(cols)) {
    double most = 0;
    for (int64_t c = 0; c < cols; ++c) most = std::max(most, std::fabs(x[begin + static_cast<size_t>(c)]));
    int exponent = 0;
    std::frexp(most, &exponent);
    r.exponents.push_back(exponent - bits);
    for (int64_t c = 0; c < cols; ++c)
      r.mantissas.push_back(static_cast<int32_t>(
          std::nearbyint(std::ldexp(x[begin + static_cast<size_t>(c)], bits - exponent))));
  }
  return r;
}

inline std::vector<double> normal(int64_t n, uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::vector<double> x(static_cast<size_t>(n));
  for (double& v : x) v = rng.normal() * scale;
  return x;
}

inline double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double v : x) most = std::max(most, std::fabs(v));
  return most;
}

/// Largest difference of two vectors.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(a[i] - b[i]));
  return a.size() == b.size() ? most : INFINITY;
}

/// Applies one operation on whole numbers at every level: the results must be the same. Attributes that are
/// packed for a level are made anew for each.
template <class Make>
FixedRows run_integer_made(const Op& op, RunContext& context, std::vector<FixedRows> inputs,
                           const Make& attributes) {
  std::vector<Extent> extents;
  std::vector<Value> in;
  for (FixedRows& i : inputs) {
    extents.push_back({RowSet::all, i.cols, true});
    in.push_back(i.value());
  }
  const KeepLevel keep;
  FixedRows first;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const Node node{&op, "node", {}, {}, {}, attributes()};
    const std::vector<Extent> shapes = op.shape(node, extents);
    const auto rows = shapes[0].rows == RowSet::all ? context.tokens.size() : context.selected.size();
    FixedRows y{shapes[0].cols, std::vector<int32_t>(rows * static_cast<size_t>(shapes[0].cols)),
                std::vector<int32_t>(rows)};
    const Value out = y.value();
    context.integer_rotations.clear();
    op.forward(node, context, in, {&out, 1});
    for (const int32_t m : y.mantissas) EXPECT_LE(std::abs(int64_t{m}), int64_t{1} << mantissa_bits);
    if (first.cols == 0) first = y;
    EXPECT_EQ(y.mantissas, first.mantissas) << isa_name(level);
    EXPECT_EQ(y.exponents, first.exponents) << isa_name(level);
  }
  return first;
}

inline FixedRows run_integer(const Op& op, RunContext& context, std::vector<FixedRows> inputs,
                             const std::any& attributes) {
  return run_integer_made(op, context, std::move(inputs), [&] { return attributes; });
}

}  // namespace nibble::test
