#pragma once

#include "formats/lanes_of_blocks.h"

// The search for one f16 scale per block, on blocks side by side.

namespace nibble::fitting {

/// Where to look: with the extreme weight at each of `starts`, each judged after a least-squares step.
struct ScalePlan {
  CodeGrid grid;
  int places;  ///< starts are whole numbers of 2^-places
  const int16_t* starts;
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
    const auto better = t.better_than(best_);
    best_.xq = better ? t.xq : best_.xq;
    best_.qq = better ? t.qq : best_.qq;
  }
  /// Alternates nearest codes and best scales.
  void polish(int times) noexcept {
    for (int k = 0; k < times; ++k) offer(block_.at(inverse_of<L>(best_.step())));
  }
  /// The same once, with starts that were judged less exactly than it is.
  void refine() noexcept { best_ = block_.at(inverse_of<L>(best_.step())); }
  /// The nearest f16 number; among subnormal ones, which stand far apart, the best around it.
  I stored() const noexcept {
    const I nearest = stored_f16<L>(best_.step() * block_.unit());
    const auto subnormal = (nearest & 0x7fff) < L::splat_int(0x0400);
    return L::any(subnormal) ? (subnormal ? stored(2) : nearest) : nearest;
  }
  /// The best of the f16 numbers around it, so many on each side.
  I stored(int neighbours) const noexcept {
    const F unit = block_.unit();
    const F inverse_unit = inverse_of<L>(unit);
    const I centre = stored_f16<L>(best_.step() * unit);
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
  LaneTrial<L> best_{F{}, L::splat(1.0f)};
};

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
    const PlainBlock<L, N> block(in, 0, plan.grid, plan.places);
    BestScale<L, PlainBlock<L, N>> best(block);
    for (int i = 0; i < plan.count; ++i) best.offer(block.whole(plan.starts[i]));
    best.refine();
    L::store_int(h, best.stored());
    for (int w = 0; w < L::width; ++w) out[w] = static_cast<uint16_t>(h[w]);
  }
  if (weighted) {
    using Block = WeightedBlock<L, N, CodeGrid>;
    const Block block(in, 0, plan.grid);
    BestScale<L, Block> best(block);
    const float unit = 1.0f / static_cast<float>(1 << plan.places);
    for (int i = 0; i < plan.count; ++i)
      best.offer(block.at(L::splat(static_cast<float>(plan.starts[i]) * unit)));
    best.polish(1);
    L::store_int(h, best.stored());
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
