#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/isa.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

class Elementwise : public testing::Test {
 protected:
  /// The function at every level the machine has: all must give the same bits.
  template <class F>
  static std::vector<float> everywhere(const F& f) {
    std::vector<float> first;
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      const std::vector<float> y = f();
      if (first.empty()) first = y;
      EXPECT_EQ(y.size(), first.size());
      for (size_t i = 0; i < y.size() && i < first.size(); ++i) {
        EXPECT_TRUE(y[i] == first[i] || (std::isnan(y[i]) && std::isnan(first[i])))
            << isa_name(level) << " at " << i << ": " << y[i] << " and " << first[i];
      }
    }
    return first;
  }

 private:
  test::KeepLevel keep_;
};

/// `n` numbers from -span to span, the first ones ordinary and extreme.
std::vector<float> numbers(size_t n, float span) {
  std::vector<float> x = {0.0f, -0.0f, 1.0f, -1.0f, 1e-30f, -1e30f, 1e30f, NAN, INFINITY, -INFINITY};
  x.resize(std::min(n, x.size()));
  for (size_t i = x.size(); i < n; ++i)
    x.push_back(span * (2.0f * static_cast<float>(i * 7919 % 10007) / 10007.0f - 1.0f));
  return x;
}

TEST_F(Elementwise, ExponentialsAreWithinTwoUnitsInTheLastPlace) {
  std::vector<float> x;
  for (double v = -86.5; v <= 88; v += 0.00371) x.push_back(static_cast<float>(v) + 0.5f);
  const auto y = everywhere([&] {
    std::vector<float> out(x.size());
    exponentials(x.data(), 0.5f, out.data(), static_cast<int64_t>(x.size()));
    return out;
  });
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i] - 0.5f));
    EXPECT_NEAR(y[i] / exact, 1, 2 * 0x1p-23) << x[i];
  }
  const std::vector<float> ends = {0.0f, -INFINITY, NAN, INFINITY};
  const auto at_ends = everywhere([&] {
    std::vector<float> out(ends.size());
    exponentials(ends.data(), 0, out.data(), 4);
    return out;
  });
  EXPECT_EQ(at_ends[0], 1.0f);
  EXPECT_EQ(at_ends[1], 0.0f);
  EXPECT_TRUE(std::isnan(at_ends[2]));
  EXPECT_TRUE(std::isfinite(at_ends[3]));
}

TEST_F(Elementwise, ActivationsAreTheSameBitsEverywhereAndNearTheTruth) {
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const auto gelu = [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); };
  const auto gelu_tanh = [](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  const auto relu = [](double x) { return x < 0 ? 0.0 : x; };
  for (const size_t n : {size_t{1}, size_t{7}, size_t{16}, size_t{35}, size_t{1000}}) {
    const auto x = numbers(n, 9), times = numbers(n, 2);
    const auto test = [&](ActivationKind kind, double (*exact)(double)) {
      const auto y = everywhere([&] {
        std::vector<float> out(n);
        activate(kind, x.data(), nullptr, out.data(), static_cast<int64_t>(n));
        return out;
      });
      const auto gated = everywhere([&] {
        std::vector<float> out = x;  // in place
        activate(kind, out.data(), times.data(), out.data(), static_cast<int64_t>(n));
        return out;
      });
      for (size_t i = 0; i < n; ++i) {
        if (std::isnan(x[i])) {
          EXPECT_TRUE(std::isnan(y[i]));
        } else if (std::fabs(x[i]) < 10) {
          EXPECT_NEAR(y[i], exact(x[i]), 4e-7 * std::max(1.0, std::fabs(static_cast<double>(x[i]))));
          if (std::isfinite(times[i])) {
            EXPECT_EQ(gated[i], y[i] * times[i]);
          }
        }
      }
    };
    test(ActivationKind::silu, silu);
    test(ActivationKind::gelu_erf, gelu);
    test(ActivationKind::gelu_tanh, gelu_tanh);
    test(ActivationKind::relu, relu);
  }
}

TEST_F(Elementwise, NormsAgreeWithDoublePrecision) {
  for (const int64_t width : {int64_t{1}, int64_t{5}, int64_t{16}, int64_t{64}, int64_t{333}}) {
    for (const bool center : {false, true}) {
      constexpr int64_t rows = 3;
      std::vector<float> x, scale, bias;
      for (int64_t i = 0; i < rows * width; ++i)
        x.push_back(static_cast<float>((i * 7919 % 1009) - 300) / 100.0f);
      for (int64_t c = 0; c < width; ++c) {
        scale.push_back(1.0f + static_cast<float>(c % 5) / 8.0f);
        bias.push_back(static_cast<float>(c % 7) - 3.0f);
      }
      const auto y = everywhere([&] {
        std::vector<float> out = x;  // in place
        normalize({out.data(), rows, width, center, 1e-5, scale.data(), center ? bias.data() : nullptr,
                   out.data()});
        return out;
      });
      for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, squares = 0;
        for (int64_t c = 0; c < width; ++c) mean += x[size_t(r * width + c)];
        mean = center ? mean / static_cast<double>(width) : 0;
        for (int64_t c = 0; c < width; ++c) squares += std::pow(x[size_t(r * width + c)] - mean, 2);
        const double f = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
        for (int64_t c = 0; c < width; ++c) {
          const double want =
              (x[size_t(r * width + c)] - mean) * f * scale[size_t(c)] + (center ? bias[size_t(c)] : 0.0f);
          EXPECT_NEAR(y[size_t(r * width + c)], want, 2e-6 * (1 + std::fabs(want))) << width << " " << center;
        }
      }
    }
  }
}

TEST_F(Elementwise, ColumnsAreSummedUpInDoubleAndTheirEndsFound) {
  for (const int64_t n : {1, 15, 31, 32, 33, 64, 77}) {
    for (const int64_t rows : {0, 1, 5, 40}) {
      const int64_t stride = n + 3;
      std::vector<float> x = numbers(static_cast<size_t>(rows * stride + n), 3);
      for (float& v : x) v = std::isinf(v) ? 1e20f : v;
      // What was seen before, and sums as bits of floats so that all levels can be compared.
      const std::vector<float> flat = everywhere([&] {
        std::vector<double> sum(static_cast<size_t>(n), 0.25), sum2(static_cast<size_t>(n), 0.5);
        std::vector<float> low(static_cast<size_t>(n), -0.5f), high(static_cast<size_t>(n), 0.5f);
        see_columns({x.data(), rows, stride, n, sum.data(), sum2.data(), low.data(), high.data()});
        std::vector<float> out;
        for (int64_t c = 0; c < n; ++c) {
          const auto at = static_cast<size_t>(c);
          double s = 0.25, s2 = 0.5;
          float least = -0.5f, most = 0.5f;
          for (int64_t r = 0; r < rows; ++r) {
            const float v = x[static_cast<size_t>(r * stride + c)];
            s += v;
            s2 += double{v} * v;
            if (v < least) least = v;
            if (v > most) most = v;
          }
          EXPECT_TRUE(sum[at] == s || std::isnan(s)) << c;
          EXPECT_TRUE(sum2[at] == s2 || std::isnan(s2)) << c;
          EXPECT_EQ(std::isnan(sum[at]), std::isnan(s)) << c;
          EXPECT_EQ(low[at], least) << c;
          EXPECT_EQ(high[at], most) << c;
          out.push_back(static_cast<float>(sum[at]));
        }
        return out;
      });
      EXPECT_EQ(flat.size(), static_cast<size_t>(n));
    }
  }
}

}  // namespace
}  // namespace nibble
