#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace nibble {

/// How far a decoded tensor is from its original, over all weights seen so far. Sums are kept in double.
class Distortion {
 public:
  void add(std::span<const float> original, std::span<const float> decoded);
  /// Adds what another part of the same tensor collected.
  void merge(const Distortion& other);

  int64_t weights() const noexcept { return count_; }
  double rmse() const;            ///< root of the mean squared difference
  double relative_error() const;  ///< RMSE over the root mean square of the original
  double max_error() const noexcept { return max_; }
  double sqnr_db() const;  ///< 10 log10(power of the original / power of the difference)
  double cosine() const;

 private:
  int64_t count_ = 0;
  double xx_ = 0, yy_ = 0, xy_ = 0, dd_ = 0, max_ = 0;
};

}  // namespace nibble
