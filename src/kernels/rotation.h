#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

/// An orthogonal matrix R of n x n that is quick to multiply with (QuaRot, Ashkboos et al., arXiv
/// 2404.00456): R = diag(signs) (Hadamard's matrix over the largest power of two that divides n) x (an
/// orthogonal matrix over the odd rest): n log2 n additions and n * rest products for a vector. It spreads
/// any single channel over many. The same bits on every machine.
template <class T>
class FastRotation {
 public:
  /// `signs` [n], 1 or -1; `mix` [rest, rest], orthogonal, empty where the rest is 1. Throws Error{usage} for
  /// an n below 1 and for a rest beyond 4096, Error{internal} for other sizes.
  FastRotation(std::span<const T> signs, std::vector<T> mix);

  int64_t size() const noexcept { return static_cast<int64_t>(sign_.size()); }
  /// x [n] becomes x R.
  void turn(T* x) const;
  /// x [n] becomes x Rᵀ.
  void turn_back(T* x) const;

 private:
  void hadamard(T* x) const;
  void mix(T* x, bool back) const;

  int64_t power_ = 1, odd_ = 1;
  std::vector<T> sign_;  ///< with the norm of Hadamard's matrix
  std::vector<T> mix_;
};

extern template class FastRotation<float>;
extern template class FastRotation<double>;

/// What is left of n without its factors of two. Throws Error{usage} where no rotation can mix so many of
/// them one by one (beyond 4096), and for n < 1.
int64_t odd_part(int64_t n);

/// The one rotation of n columns that programs agree on without a seed: keys, queries and values on their way
/// into a cache, inputs that are turned as a model runs. Files hold weights turned by it: it stays as it is.
/// The rest is mixed by a cosine transform. Safe from any thread. Throws Error{usage} as odd_part does.
const FastRotation<float>& fixed_rotation(int64_t n);

}  // namespace nibble
