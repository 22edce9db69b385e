#pragma once

#include "formats/lanes_of_blocks.h"

// The search for one f16 scale per block, on blocks side by side.

namespace nibble::fitting {

/// Where to look: with the extreme weight at each of `starts`, each judged after a least-squares step.
struct ScalePlan {
  CodeGrid grid;
  const float* starts;
  int count;
};

/// The best scale of each block so far.
template <class L, class Block>
class BestScale {
  using F = typename L::F;
  using I = typename L::I;

 public:
  explicit BestScale(const Block& block) noexcept : block_(block) {}

  void offer(const LaneTrial<L>& t) noexcept {
    const F d = t.step(), e = -(t.xq * d);
    const auto better = e < best_;
    best_d_ = better ? d : best_d_;
    best_ = better ? e : best_;
  }
  /// Alternates nearest codes and best scales.
  void polish(int times) noexcept {
    for (int k = 0; k < times; ++k) offer(block_.at(inverse_of<L>(best_d_)));
  }
  /// The nearest f16 number; among subnormal ones, which stand far apart, the best around it.
  I stored() const noexcept {
    const I nearest = stored_f16<L>(best_d_ * block_.unit());
    const auto subnormal = (nearest & 0x7fff) < L::splat_int(0x0400);
    return L::any(subnormal) ? (subnormal ? stored(2) : nearest) : nearest;
  }
  /// The best of the f16 numbers around it, so many on each side.
  I stored(int neighbours) const noexcept {
    const F unit = block_.unit();
    const F inverse_unit = inverse_of<L>(unit);
    const I centre = stored_f16<L>(best_d_ * unit);
    I chosen = centre;
    F least_error = L::splat(0x1p127f);
    for (int k = -neighbours; k <= neighbours; ++k) {
      const I h = stepped_f16<L>(centre, k);
      const F d = f16_value<L>(h) * inverse_unit;
      const F e = block_.at(inverse_of<L>(d)).error(d);
      const auto better = e < least_error;
      chosen = better ? h : chosen;
      least_error = better ? e : least_error;
    }
    return chosen;
  }

 private:
  const Block& block_;
  F best_d_{}, best_{};
};

template <class L, class Block>
typename L::I best_f16_scale(const Block& block, const ScalePlan& plan) noexcept {
  BestScale<L, Block> best(block);
  const float safe =
      static_cast<float>(-plan.grid.low < plan.grid.high ? -plan.grid.low : plan.grid.high) + 0.49f;
  for (int i = 0; i < plan.count; ++i) {
    const float t = plan.starts[i];
    best.offer(t < safe ? block.inside(L::splat(t)) : block.at(L::splat(t)));
  }
  best.polish(1);
  return best.stored();
}

/// f16 scales of L::width blocks of N weights.
template <class L, int N>
void fit_f16_scales(const LaneInput<L>& in, const ScalePlan& plan, uint16_t* out) noexcept {
  bool weighted = false, plain = false;
  bool weigh[L::width];
  for (int w = 0; w < L::width; ++w) {
    weigh[w] = in.importance[w] != nullptr && uneven<L>(in.importance[w], N);
    (weigh[w] ? weighted : plain) = true;
  }
  alignas(64) int32_t h[L::width];
  if (plain) {
    L::store_int(h, best_f16_scale<L>(PlainBlock<L, N>(in, 0, plan.grid), plan));
    for (int w = 0; w < L::width; ++w) out[w] = static_cast<uint16_t>(h[w]);
  }
  if (weighted) {
    L::store_int(h, best_f16_scale<L>(WeightedBlock<L, N, CodeGrid>(in, 0, plan.grid), plan));
    for (int w = 0; w < L::width; ++w) out[w] = weigh[w] ? static_cast<uint16_t>(h[w]) : out[w];
  }
}

/// The same on any grid, which the search meets with the extreme weight at each of `starts`.
template <class L, int N, class Grid>
void fit_f16_scales(const LaneInput<L>& in, const Grid& grid, const float* starts, int count,
                    uint16_t* out) noexcept {
  const WeightedBlock<L, N, Grid> block(in, 0, grid);
  BestScale<L, WeightedBlock<L, N, Grid>> best(block);
  // The extreme weight is -1.
  for (int i = 0; i < count; ++i) best.offer(block.at(L::splat(-starts[i])));
  best.polish(2);
  alignas(64) int32_t h[L::width];
  L::store_int(h, best.stored(1));
  for (int w = 0; w < L::width; ++w) out[w] = static_cast<uint16_t>(h[w]);
}

}  // namespace nibble::fitting
