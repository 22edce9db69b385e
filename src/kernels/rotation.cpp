#include "kernels/rotation.h"

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"

namespace nibble {
namespace {

constexpr int64_t most_mixed = 4096;

}  // namespace

int64_t odd_part(int64_t n) {
  if (n < 1) fail(ErrorKind::usage, "there is no rotation of {} columns", n);
  int64_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  if (odd > most_mixed)
    fail(ErrorKind::usage, "a rotation of {} columns would mix {} of them one by one", n, odd);
  return odd;
}

template <class T>
FastRotation<T>::FastRotation(std::span<const T> signs, std::vector<T> mix) : mix_(std::move(mix)) {
  const auto n = static_cast<int64_t>(signs.size());
  odd_ = odd_part(n);
  power_ = n / odd_;
  if (mix_.size() != static_cast<size_t>(odd_ == 1 ? 0 : odd_ * odd_))
    fail(ErrorKind::internal, "{} numbers do not mix the {} of {} columns", mix_.size(), odd_, n);
  const T unit = 1 / std::sqrt(static_cast<T>(power_));
  for (const T s : signs) sign_.push_back(s * unit);
}

template <class T>
void FastRotation<T>::hadamard(T* x) const {
  const int64_t n = size();
  for (int64_t half = 1; half < power_; half *= 2) {
    for (int64_t begin = 0; begin < n; begin += 2 * half) {
      for (int64_t i = begin; i < begin + half; ++i) {
        const T a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

template <class T>
void FastRotation<T>::mix(T* x, bool back) const {
  if (odd_ == 1) return;
  thread_local std::vector<T> mixed;
  mixed.assign(sign_.size(), 0);
  // Whole runs of columns at a time, so that the inner loop is one of vectors.
  for (int64_t to = 0; to < odd_; ++to) {
    T* y = mixed.data() + to * power_;
    for (int64_t from = 0; from < odd_; ++from) {
      const T m = mix_[static_cast<size_t>(back ? to * odd_ + from : from * odd_ + to)];
      const T* run = x + from * power_;
      for (int64_t i = 0; i < power_; ++i) y[i] += run[i] * m;
    }
  }
  std::copy(mixed.begin(), mixed.end(), x);
}

template <class T>
void FastRotation<T>::turn(T* x) const {
  for (size_t i = 0; i < sign_.size(); ++i) x[i] *= sign_[i];
  hadamard(x);
  mix(x, false);
}

template <class T>
void FastRotation<T>::turn_back(T* x) const {
  mix(x, true);
  hadamard(x);
  for (size_t i = 0; i < sign_.size(); ++i) x[i] *= sign_[i];
}

template class FastRotation<float>;
template class FastRotation<double>;

namespace {

FastRotation<float> make_fixed(int64_t n) {
  const int64_t odd = odd_part(n);
  Rng rng(static_cast<uint64_t>(n));
  std::vector<float> signs, mix;
  for (int64_t i = 0; i < n; ++i) signs.push_back(rng.below(2) == 0 ? 1.0f : -1.0f);
  const auto count = static_cast<double>(odd);
  for (int64_t from = 0; from < odd && odd > 1; ++from) {
    for (int64_t to = 0; to < odd; ++to) {
      const double angle =
          std::numbers::pi * (static_cast<double>(from) + 0.5) * static_cast<double>(to) / count;
      mix.push_back(static_cast<float>(std::sqrt((to == 0 ? 1 : 2) / count) * std::cos(angle)));
    }
  }
  return {signs, std::move(mix)};
}

}  // namespace

const FastRotation<float>& fixed_rotation(int64_t n) {
  static std::mutex mutex;
  static std::map<int64_t, std::unique_ptr<FastRotation<float>>> known;
  const std::lock_guard lock(mutex);
  std::unique_ptr<FastRotation<float>>& rotation = known[n];
  if (!rotation) rotation = std::make_unique<FastRotation<float>>(make_fixed(n));
  return *rotation;
}

}  // namespace nibble
