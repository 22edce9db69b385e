#pragma once

#include "formats/lanes_of_blocks.h"
#include "formats/plain_weights.h"
#include "formats/vector_lanes.h"

// A super-block with its blocks side by side: block j is lane j % width of part j / width. What is searched
// for one block is searched for all of them at once; only the few numbers that they share are found by sums
// over lanes, which are taken from the first block to the last. So the result is the same for every width.

namespace nibble::fitting {

/// What a super-block is fitted with where no instruction set was asked for.
struct EveryMachine {
  using Lanes = VectorLanes<4, EveryMachine>;
};
using FourLanes = EveryMachine::Lanes;

/// A number for each of Count blocks.
template <class L, int Count>
struct Each {
  static constexpr int parts = Count / L::width;
  typename L::F part[parts];

  void store(float* out) const noexcept {
    for (int p = 0; p < parts; ++p) L::store(out + p * L::width, part[p]);
  }
  /// The sum, from the first block to the last.
  float sum() const noexcept {
    float v[Count], s = 0;
    store(v);
    for (int j = 0; j < Count; ++j) s += v[j];
    return s;
  }
};

template <class L, int N, int Count>
struct SuperBlock {
  using F = typename L::F;
  static constexpr int parts = Count / L::width;
  static_assert(parts * L::width == Count);

  F x[parts][N];  ///< block = x * unit, unit the power of two that brings the largest |x| into [1, 2)
  F w[parts][N];  ///< importance, at most 1; never quite 0, so that dead weights stay what they were
  float unit = 1;
  float inverse_unit = 1;
  float reach = 0;   ///< largest |x|; 0 if the super-block counts as all zero
  float lowest = 0;  ///< least x

  /// `plain`: where no importance is given, plain_weight stands in for it.
  SuperBlock(const float* block, const float* importance, bool plain) noexcept {
    constexpr int all = N * Count;
    const Extreme extreme = extreme_of<L>(block, all);
    if (extreme.reach > 0) {
      const int32_t exponent = std::bit_cast<int32_t>(extreme.reach) >> 23;
      unit = std::bit_cast<float>(exponent << 23);
      // The inverse of the largest power of two would be subnormal.
      inverse_unit = std::bit_cast<float>((exponent < 253 ? 254 - exponent : 1) << 23);
      unit = exponent < 253 ? unit : 0x1p126f;
      reach = extreme.reach * inverse_unit;
    }
    alignas(64) float flat[all];
    const float factor = reach > 0 ? inverse_unit : 0.0f;
    for (int i = 0; i < all; ++i) flat[i] = block[i] * factor;
    turn(flat, x);
    F low = x[0][0];
    for (int p = 0; p < parts; ++p) {
      for (int i = 0; i < N; ++i) low = least<L>(low, x[p][i]);
    }
    float lows[L::width];
    L::store(lows, low);
    lowest = lows[0];
    for (const float v : lows) lowest = v < lowest ? v : lowest;

    const float heaviest = importance != nullptr ? extreme_of<L>(importance, all).reach : 0.0f;
    const bool weighted = heaviest > 0x1p-100f && heaviest <= 0x1p126f;
    if (plain && importance == nullptr) {
      Each<L, Count> sums{};
      for (int p = 0; p < parts; ++p) {
        for (int i = 0; i < N; ++i) sums.part[p] += absolute<L>(x[p][i]);
      }
      const float mean = sums.sum() / all;
      for (int p = 0; p < parts; ++p) {
        for (int i = 0; i < N; ++i) w[p][i] = plain_weight<L>(x[p][i], mean);
      }
      return;
    }
    if (!weighted) {
      for (int p = 0; p < parts; ++p) {
        for (int i = 0; i < N; ++i) w[p][i] = L::splat(1.0f);
      }
      return;
    }
    const float inverse = 1.0f / heaviest;
    for (int i = 0; i < all; ++i) {
      const float v = importance[i] * inverse;
      flat[i] = v < 0x1p-40f ? 0x1p-40f : v;
    }
    turn(flat, w);
  }

 private:
  static void turn(const float* flat, F (*out)[N]) noexcept {
    for (int p = 0; p < parts; ++p) {
      alignas(64) int32_t rows[N * L::width], turned[N * L::width];
      __builtin_memcpy(rows, flat + p * N * L::width, sizeof rows);
      L::transpose(rows, N, turned);
      __builtin_memcpy(out[p], turned, sizeof turned);
    }
  }
};

/// Integers around a number: the nearest, then by turns further off on both sides, the nearer side first.
template <class L>
class NearbyIntegers {
  using F = typename L::F;

 public:
  explicit NearbyIntegers(F v) noexcept
      : nearest_(whole<L>(v)), side_(v < nearest_ ? L::splat(-1.0f) : L::splat(1.0f)) {}
  F operator[](int i) const noexcept {
    const int steps = (i + 1) / 2;
    const auto away = static_cast<float>(steps);
    return nearest_ + side_ * L::splat(i % 2 == 0 ? -away : away);
  }

 private:
  F nearest_, side_;
};

/// f16 bits of d, saturating.
template <class L>
uint16_t f16_bits(float d) noexcept {
  int32_t h[L::width];
  L::store_int(h, stored_f16<L>(L::splat(d)));
  return static_cast<uint16_t>(h[0]);
}

template <class L>
float f16_float(uint16_t h) noexcept {
  float v[L::width];
  L::store(v, f16_value<L>(L::splat_int(h)));
  return v[0];
}

}  // namespace nibble::fitting
