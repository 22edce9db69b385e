#include "ops/head_rotation.h"

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"

namespace nibble {

HeadRotation::HeadRotation(int64_t d) : d_(d), power_(1), odd_(d) {
  if (d < 1) fail(ErrorKind::usage, "there is no rotation of heads of {} columns", d);
  while (odd_ % 2 == 0) {
    odd_ /= 2;
    power_ *= 2;
  }
  if (odd_ > 1024)
    fail(ErrorKind::usage, "a rotation of {} columns would mix {} of them one by one", d, odd_);
  Rng rng(static_cast<uint64_t>(d));
  const float unit = 1 / std::sqrt(static_cast<float>(power_));
  for (int64_t i = 0; i < d; ++i) sign_.push_back(rng.below(2) == 0 ? unit : -unit);
  if (odd_ == 1) return;
  const auto n = static_cast<double>(odd_);
  for (int64_t from = 0; from < odd_; ++from) {
    for (int64_t to = 0; to < odd_; ++to) {
      const double angle = std::numbers::pi * (static_cast<double>(from) + 0.5) * static_cast<double>(to) / n;
      mix_.push_back(static_cast<float>(std::sqrt((to == 0 ? 1 : 2) / n) * std::cos(angle)));
    }
  }
}

void HeadRotation::hadamard(float* x) const {
  for (int64_t half = 1; half < power_; half *= 2) {
    for (int64_t begin = 0; begin < d_; begin += 2 * half) {
      for (int64_t i = begin; i < begin + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

void HeadRotation::mix(float* x, bool back) const {
  if (odd_ == 1) return;
  float column[1024];
  for (int64_t i = 0; i < power_; ++i) {
    for (int64_t to = 0; to < odd_; ++to) {
      float sum = 0;
      for (int64_t from = 0; from < odd_; ++from)
        sum += x[from * power_ + i] * mix_[static_cast<size_t>(back ? to * odd_ + from : from * odd_ + to)];
      column[to] = sum;
    }
    for (int64_t to = 0; to < odd_; ++to) x[to * power_ + i] = column[to];
  }
}

void HeadRotation::turn(float* x) const {
  for (int64_t i = 0; i < d_; ++i) x[i] *= sign_[static_cast<size_t>(i)];
  hadamard(x);
  mix(x, false);
}

void HeadRotation::turn_back(float* x) const {
  mix(x, true);
  hadamard(x);
  for (int64_t i = 0; i < d_; ++i) x[i] *= sign_[static_cast<size_t>(i)];
}

const HeadRotation& head_rotation(int64_t d) {
  static std::mutex mutex;
  static std::map<int64_t, std::unique_ptr<HeadRotation>> known;
  const std::lock_guard lock(mutex);
  std::unique_ptr<HeadRotation>& rotation = known[d];
  if (!rotation) rotation = std::make_unique<HeadRotation>(d);
  return *rotation;
}

}  // namespace nibble
