#include "formats/histogram.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace nibble {
namespace {
constexpr int least_exponent = -100;  // below it the factor to bins would leave the range of floats
}

Histogram::Histogram()
    : bins_(static_cast<size_t>(2 * half)),
      exponent_(least_exponent),
      limit_(std::ldexp(1.0f, exponent_)),
      to_bin_(std::ldexp(static_cast<float>(half), -exponent_)) {}

void Histogram::add(float x, double weight) {
  if (!std::isfinite(x)) return;
  if (empty_) {
    min_ = max_ = x;
    empty_ = false;
  }
  min_ = std::min(min_, x);
  max_ = std::max(max_, x);
  if (!(std::fabs(x) < limit_)) {
    int e = 0;
    std::frexp(x, &e);
    grow(e);
  }
  Bin& bin = bins_[static_cast<size_t>(half + static_cast<int64_t>(std::floor(x * to_bin_)))];
  bin.weight += weight;
  bin.sum += weight * static_cast<double>(x);
}

void Histogram::grow(int exponent) {
  const int shift = std::min(exponent - exponent_, 16);
  exponent_ = exponent;
  // 2^128 is no float, but then neither is any number beyond it.
  limit_ = exponent >= 128 ? HUGE_VALF : std::ldexp(1.0f, exponent);
  to_bin_ = std::ldexp(static_cast<float>(half), -exponent);
  std::vector<Bin> merged(bins_.size());
  for (int64_t i = -half; i < half; ++i) {
    const Bin& from = bins_[static_cast<size_t>(half + i)];
    Bin& to = merged[static_cast<size_t>(half + (i >> shift))];
    to.weight += from.weight;
    to.sum += from.sum;
  }
  bins_ = std::move(merged);
}

Histogram::Points Histogram::points() const {
  Points p;
  visit([&p](double x, double weight) {
    p.x.push_back(static_cast<float>(x));
    p.weight.push_back(static_cast<float>(weight));
  });
  return p;
}

}  // namespace nibble
