#include "eval/distortion.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {

void Distortion::add(std::span<const float> original, std::span<const float> decoded) {
  for (size_t i = 0; i < original.size(); ++i) {
    const double x = original[i], y = decoded[i], d = x - y;
    xx_ += x * x;
    yy_ += y * y;
    xy_ += x * y;
    dd_ += d * d;
    max_ = std::max(max_, std::fabs(d));
  }
  count_ += static_cast<int64_t>(original.size());
}

void Distortion::merge(const Distortion& other) {
  count_ += other.count_;
  xx_ += other.xx_;
  yy_ += other.yy_;
  xy_ += other.xy_;
  dd_ += other.dd_;
  max_ = std::max(max_, other.max_);
}

double Distortion::rmse() const { return count_ == 0 ? 0 : std::sqrt(dd_ / static_cast<double>(count_)); }

double Distortion::relative_error() const {
  if (dd_ == 0) return 0;
  return xx_ > 0 ? std::sqrt(dd_ / xx_) : std::numeric_limits<double>::infinity();
}

double Distortion::sqnr_db() const {
  return dd_ > 0 ? 10 * std::log10(xx_ / dd_) : std::numeric_limits<double>::infinity();
}

double Distortion::cosine() const {
  if (xx_ == 0 && yy_ == 0) return 1;
  const double norm = std::sqrt(xx_) * std::sqrt(yy_);
  return norm > 0 ? xy_ / norm : 0;
}

}  // namespace nibble
