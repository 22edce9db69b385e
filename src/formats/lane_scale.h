#pragma once

#include "formats/lanes_of_blocks.h"

// The search for one f16 scale per block, on blocks side by side.

namespace nibble::fitting {

/// Where to look: scales reach / t for t in [from, to] in steps; then how often the best is polished, and how
/// many f16 numbers on each side of it are compared.
struct ScalePlan {
  CodeGrid grid;
  float from, to, step;
  int polish, neighbours;
};

template <class L, class Block>
typename L::I best_f16_scale(const Block& block, const ScalePlan& plan) noexcept {
  using F = typename L::F;
  using I = typename L::I;
  F best_d{}, best{};
  const auto offer = [&](const LaneTrial<L>& t) noexcept {
    const F d = t.step(), e = -(t.xq * d);
    const auto better = e < best;
    best_d = better ? d : best_d;
    best = better ? e : best;
  };
  const float safe =
      static_cast<float>(-plan.grid.low < plan.grid.high ? -plan.grid.low : plan.grid.high) + 0.49f;
  for (float t = plan.from; t <= plan.to; t += plan.step) {
    offer(t < safe ? block.inside(L::splat(t)) : block.at(L::splat(t)));
  }
  for (int k = 0; k < plan.polish; ++k) offer(block.at(inverse_of<L>(best_d)));
  const F unit = block.unit();
  const F inverse_unit = inverse_of<L>(unit);
  const I centre = stored_f16<L>(best_d * unit);
  I chosen = centre;
  F least_error = L::splat(0x1p127f);
  for (int k = -plan.neighbours; k <= plan.neighbours; ++k) {
    const I h = stepped_f16<L>(centre, k);
    const F d = f16_value<L>(h) * inverse_unit;
    const F e = block.at(inverse_of<L>(d)).error(d);
    const auto better = e < least_error;
    chosen = better ? h : chosen;
    least_error = better ? e : least_error;
  }
  return chosen;
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
    L::store_int(h, best_f16_scale<L>(WeightedBlock<L, N>(in, 0, plan.grid), plan));
    for (int w = 0; w < L::width; ++w) out[w] = weigh[w] ? static_cast<uint16_t>(h[w]) : out[w];
  }
}

}  // namespace nibble::fitting
