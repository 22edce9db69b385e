// Norms, activation functions, rotations, sums: each against double precision.
#include <gtest/gtest.h>

#include <numbers>

#include "fixed_rows.h"
#include "ops/integer/activation.h"
#include "ops/integer/elementwise.h"
#include "ops/integer/norm.h"
#include "ops/integer/rope.h"
#include "ops/integer/to_floats.h"

namespace nibble {
namespace {

using test::fixed_rows;
using test::FixedRows;

struct IntegerOps : testing::Test {
  ThreadPool pool{2};
  std::vector<int32_t> tokens = std::vector<int32_t>(3);
  SequenceRows sequence{0, 3, 0, 8, {}};
  RunContext context{pool, tokens, {}, {&sequence, 1}, {}, {}};
};

// --- activation functions

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double gelu_erf(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
double relu(double x) { return x < 0 ? 0 : x; }

struct Function {
  IntegerFunction function;
  double (*exact)(double);
  double error;  ///< of the factor on x
};

TEST_F(IntegerOps, ActivationFunctionsFollowTheirDefinitions) {
  // The factor is a product of numbers of 30 bits; 7.1.26 itself is wrong by 1.5e-7 / 2.
  for (const Function& f : {Function{IntegerFunction::silu, silu, std::ldexp(1, -26)},
                            Function{IntegerFunction::gelu_tanh, gelu_tanh, std::ldexp(1, -26)},
                            Function{IntegerFunction::gelu_erf, gelu_erf, 1e-7},
                            Function{IntegerFunction::relu, relu, std::ldexp(1, -30)}}) {
    for (const double size : {1e-6, 0.01, 1.0, 6.0, 30.0, 1000.0, 1e9}) {
      std::vector<double> x;
      for (int i = -3000; i < 3000; ++i) x.push_back(size * i / 3000);
      const FixedRows in = fixed_rows(x, 2000);
      const auto y = test::run_integer(integer_activation_op, context, {in}, IntegerActivation{f.function});
      const auto exactly = in.values(), got = y.values();
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_NEAR(got[i], f.exact(exactly[i]), std::fabs(exactly[i]) * f.error + size * std::ldexp(1, -29))
            << exactly[i];
    }
  }
}

TEST_F(IntegerOps, GatesAreMultiplied) {
  const FixedRows x = fixed_rows(test::normal(3 * 70, 1, 2), 70, 22),
                  up = fixed_rows(test::normal(3 * 70, 2, 5), 70, 17);
  const auto y = test::run_integer(integer_activation_op, context, {x, up}, IntegerActivation{}).values();
  const auto a = x.values(), b = up.values();
  std::vector<double> exact;
  for (size_t i = 0; i < a.size(); ++i) exact.push_back(silu(a[i]) * b[i]);
  EXPECT_LT(test::distance(y, exact), test::largest(a) * test::largest(b) * std::ldexp(1, -26));
}

TEST_F(IntegerOps, SoftcapsFollowTheHyperbolicTangent) {
  for (const double size : {0.01, 1.0, 30.0, 1e4}) {
    const double cap = 30;
    const FixedRows x = fixed_rows(test::normal(3 * 50, 4, size), 50, 25);
    const IntegerSoftcap a{to_dyadic(cap, "cap"), to_dyadic(2 * std::numbers::log2e / cap, "turn")};
    const auto y = test::run_integer(integer_softcap_op, context, {x}, a).values();
    std::vector<double> exact;
    for (const double v : x.values()) exact.push_back(cap * std::tanh(v / cap));
    EXPECT_LT(test::distance(y, exact), cap * std::ldexp(1, -24)) << size;
  }
}

// --- norms

IntegerNorm norm_attributes(bool center, int64_t width, double eps, const std::vector<double>& gain,
                            const std::vector<double>& bias) {
  IntegerNorm n;
  n.center = center;
  n.width = width;
  const Dyadic e = to_dyadic(eps, "eps");
  n.eps = widen(static_cast<uint64_t>(e.mantissa), e.exponent);
  const double most = std::sqrt(static_cast<double>(width));
  n.fraction = 29 - static_cast<int>(std::ceil(std::log2(most)));
  FixedVector g = to_fixed(gain, 30, "gain");
  int bits = 0;
  std::frexp(most * test::largest(gain) + test::largest(bias), &bits);
  n.exponent = bits - 29;
  n.gain_shift = n.exponent + n.fraction - g.exponent;
  n.gain = g.mantissas;
  if (!bias.empty()) n.bias = to_fixed_with(bias, n.exponent, "bias");
  return n;
}

TEST_F(IntegerOps, NormsFollowTheirDefinitions) {
  for (const bool center : {false, true}) {
    for (const int64_t width : {8, 64, 96}) {
      for (const double size : {1e-7, 1e-3, 1.0, 2000.0}) {
        auto x = test::normal(3 * 192, 5, size);
        for (size_t i = 0; i < 64; ++i) x[i * 9] *= 50;  // outliers
        const auto gain = test::normal(width, 6, 3);
        const auto bias = center ? test::normal(width, 7) : std::vector<double>{};
        const double eps = 1e-5;
        const FixedRows in = fixed_rows(x, 192, 27);
        const auto y =
            test::run_integer(integer_norm_op, context, {in}, norm_attributes(center, width, eps, gain, bias))
                .values();
        const auto v = in.values();
        std::vector<double> exact(v.size());
        for (size_t g = 0; g < v.size(); g += static_cast<size_t>(width)) {
          const auto w = static_cast<size_t>(width);
          double mean = 0, squares = 0;
          for (size_t c = 0; c < w && center; ++c) mean += v[g + c] / static_cast<double>(width);
          for (size_t c = 0; c < w; ++c) squares += (v[g + c] - mean) * (v[g + c] - mean);
          const double f = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
          for (size_t c = 0; c < w; ++c)
            exact[g + c] = (v[g + c] - mean) * f * gain[c] + (center ? bias[c] : 0);
        }
        // Squares keep 23 bits, the inverse root 28, results 29 of what they can be.
        const double reach = std::sqrt(static_cast<double>(width)) * test::largest(gain);
        EXPECT_LT(test::distance(y, exact), reach * std::ldexp(1, -22))
            << center << " " << width << " " << size;
      }
    }
  }
}

TEST_F(IntegerOps, NormsOfConstantsAndZerosAreTheBias) {
  const std::vector<double> gain(16, 2), bias(16, 0.5);
  for (const double value : {0.0, 3.0}) {
    const auto y =
        test::run_integer(integer_norm_op, context, {fixed_rows(std::vector<double>(48, value), 16)},
                          norm_attributes(true, 16, 1e-12, gain, bias));
    for (const double v : y.values()) EXPECT_NEAR(v, 0.5, 1e-6);
  }
  const auto zero = test::run_integer(integer_norm_op, context, {fixed_rows(std::vector<double>(48), 16)},
                                      norm_attributes(false, 16, 0, gain, {}));
  for (const double v : zero.values()) EXPECT_EQ(v, 0);
}

// --- rotations

TEST_F(IntegerOps, RotationsFollowSineAndCosine) {
  for (const bool interleaved : {false, true}) {
    for (const int64_t position : {0, 5, 4095, 1000000}) {
      for (const double magnitude : {1.0, 1.25}) {
        auto table = std::make_shared<IntegerRopeTable>();
        std::vector<double> frequency;
        for (int j = 0; j < 6; ++j) {
          // Multiples of 2^-40 of a turn, so that the reference's angles are exact.
          const double turn =
              std::floor(std::ldexp(std::pow(10000.0, -j / 6.0) / (2 * std::numbers::pi), 40));
          table->turns.push_back(static_cast<uint64_t>(turn) << 24);
          frequency.push_back(std::ldexp(turn, -40));
        }
        table->magnitude_bits = magnitude > 1 ? 1 : 0;
        table->magnitude = static_cast<int32_t>(std::ldexp(magnitude, 30 - table->magnitude_bits));
        const FixedRows in = fixed_rows(test::normal(3 * 32, 8), 32);
        const SequenceRows from{0, 3, position, 8, {}};
        RunContext at{pool, tokens, {}, {&from, 1}, {}, {}};
        const auto y =
            test::run_integer(integer_rope_op, at, {in}, IntegerRope{table, 16, interleaved}).values();
        const auto x = in.values();
        std::vector<double> exact = x;
        for (size_t i = 0; i < 3; ++i) {
          for (size_t h = 0; h < 2; ++h) {
            for (size_t j = 0; j < 6; ++j) {
              const size_t base = i * 32 + h * 16;
              const size_t a = base + (interleaved ? 2 * j : j), b = base + (interleaved ? 2 * j + 1 : j + 6);
              double whole;
              const double turn =
                  std::modf(static_cast<double>(position + static_cast<int64_t>(i)) * frequency[j], &whole);
              const double c = magnitude * std::cos(2 * std::numbers::pi * turn);
              const double s = magnitude * std::sin(2 * std::numbers::pi * turn);
              exact[a] = x[a] * c - x[b] * s;
              exact[b] = x[a] * s + x[b] * c;
            }
          }
        }
        EXPECT_LT(test::distance(y, exact), test::largest(x) * std::ldexp(1, -26)) << position;
      }
    }
  }
}

TEST_F(IntegerOps, StretchedRotationsBeginWithTheContext) {
  auto table = std::make_shared<IntegerRopeTable>();
  table->turns = {uint64_t{1} << 62};       // a quarter for each position
  table->long_turns = {uint64_t{1} << 61};  // an eighth
  table->long_from = 100;
  const FixedRows in = fixed_rows({1, 0, 1, 0, 1, 0}, 2);
  for (const int64_t room : {100, 101}) {
    const SequenceRows from{0, 3, 2, room, {}};
    RunContext at{pool, tokens, {}, {&from, 1}, {}, {}};
    const auto y = test::run_integer(integer_rope_op, at, {in}, IntegerRope{table, 2, false}).values();
    EXPECT_NEAR(y[0], room > 100 ? 0 : -1, 1e-8);  // position 2
    EXPECT_NEAR(y[1], room > 100 ? 1 : 0, 1e-8);
  }
}

// --- sums and the rest

TEST_F(IntegerOps, SumsOfRowsOfAnySize) {
  for (const double ratio : {1e-12, 1e-3, 1.0, 1e5, 1e30}) {
    const FixedRows a = fixed_rows(test::normal(3 * 40, 9), 40),
                    b = fixed_rows(test::normal(3 * 40, 10, ratio), 40, 12);
    const auto y = test::run_integer(integer_add_op, context, {a, b}, {}).values();
    auto exact = a.values();
    for (size_t i = 0; i < exact.size(); ++i) exact[i] += b.values()[i];
    EXPECT_LT(test::distance(y, exact),
              std::max(test::largest(a.values()), test::largest(b.values())) * std::ldexp(1, -28))
        << ratio;
  }
  const FixedRows zero = fixed_rows(std::vector<double>(120), 40),
                  b = fixed_rows(test::normal(120, 1, 1e-20), 40, 20);
  EXPECT_EQ(test::run_integer(integer_add_op, context, {zero, b}, {}).values(), b.values());
  EXPECT_EQ(test::run_integer(integer_add_op, context, {b, zero}, {}).values(), b.values());
}

TEST_F(IntegerOps, SumsDoNotWearOut) {
  // The residual stream of a deep model: no bit may be lost at each addition.
  FixedRows x = fixed_rows(test::normal(3 * 40, 11), 40);
  std::vector<double> exact = x.values();
  for (uint64_t i = 0; i < 200; ++i) {
    const FixedRows step = fixed_rows(test::normal(3 * 40, 12 + i, 0.1), 40);
    for (size_t c = 0; c < exact.size(); ++c) exact[c] += step.values()[c];
    x = test::run_integer(integer_add_op, context, {x, step}, {});
  }
  EXPECT_LT(test::distance(x.values(), exact), 200 * test::largest(exact) * std::ldexp(1, -28));
}

TEST_F(IntegerOps, SelectedRowsAndFloatsAreTheSameNumbers) {
  const FixedRows x = fixed_rows(test::normal(3 * 10, 13), 10, 20);
  const std::vector<int64_t> selected{2, 0};
  RunContext some{pool, tokens, {}, {&sequence, 1}, selected, {}};
  FixedRows y = test::run_integer(integer_select_rows_op, some, {x}, {});
  EXPECT_EQ(y.exponents, (std::vector<int32_t>{x.exponents[2], x.exponents[0]}));
  std::vector<float> floats(20);
  const Value in = y.value(), out{floats.data(), 2, 10};
  const Node node{&to_floats_op, "node", {}, {}, {}, {}};
  to_floats_op.forward(node, some, {&in, 1}, {&out, 1});
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(double{floats[i]}, y.values()[i]);
  const Extent floating{RowSet::all, 10};
  EXPECT_THROW(to_floats_op.shape(node, {&floating, 1}), Error);
}

}  // namespace
}  // namespace nibble
