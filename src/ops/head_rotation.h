#pragma once

#include <cstdint>
#include <vector>

namespace nibble {

/// A fixed orthogonal matrix R of d x d that spreads any channel of a head over many, so that one outlier no
/// longer decides the step of a block of rounded numbers (QuaRot, Ashkboos et al., arXiv 2404.00456): signs,
/// Hadamard's matrix over the largest power of two that divides d, and a cosine transform over the odd rest.
/// Keys and queries turned alike have the same products; values turned give results that turn_back restores.
/// The same bits on every machine.
class HeadRotation {
 public:
  /// Throws Error{usage} for d < 1 and for an odd part beyond 1024.
  explicit HeadRotation(int64_t d);

  /// x becomes x R.
  void turn(float* x) const;
  /// x becomes x Rᵀ.
  void turn_back(float* x) const;

 private:
  void hadamard(float* x) const;
  void mix(float* x, bool back) const;

  int64_t d_, power_, odd_;
  std::vector<float> sign_;  ///< with the norm of Hadamard's matrix
  std::vector<float> mix_;   ///< [odd, odd]
};

/// The one for heads of d columns. Safe from any thread.
const HeadRotation& head_rotation(int64_t d);

}  // namespace nibble
