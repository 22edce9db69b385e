#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

/// What a stream of numbers looked like, in fixed memory (1 MiB): 65536 equal bins over [-2^k, 2^k), where k
/// grows with the data by merging neighbours, so the bins do not depend on how the stream was cut. Every bin
/// keeps its weight and its weighted sum: centroids are exact, only the borders between bins are coarse
/// (at most 1/16384 of the largest magnitude wide). Numbers that are not finite are left out.
class Histogram {
 public:
  Histogram();
  void add(std::span<const float> x) {
    for (const float v : x) add(v, 1.0);
  }
  void add(float x, double weight);

  float min() const noexcept { return min_; }  ///< 0 while empty
  float max() const noexcept { return max_; }

  /// Bins that hold something: their centroid and weight, ascending.
  struct Points {
    std::vector<float> x, weight;
  };
  Points points() const;
  /// Calls f(centroid, weight) for the same bins, in double precision.
  template <class F>
  void visit(F&& f) const {
    for (const Bin& bin : bins_) {
      if (bin.weight > 0) f(bin.sum / bin.weight, bin.weight);
    }
  }

 private:
  static constexpr int64_t half = 32768;
  struct Bin {
    double weight = 0, sum = 0;
  };
  void grow(int exponent);

  std::vector<Bin> bins_;
  int exponent_;
  float limit_, to_bin_;
  float min_ = 0, max_ = 0;
  bool empty_ = true;
};

}  // namespace nibble
