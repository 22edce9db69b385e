#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

// Blocks side by side. A search for scales runs on L::width blocks at once, one per lane of a vector, and
// does in each lane what it would do for that block alone: no sum crosses lanes, choices are selects, and
// there is no fused multiply-add. So the result is the same for every width, and an instruction set only has
// to offer the type L. Everything here is a template over L, which is a type of one translation unit where
// instruction sets come in: no code compiled for one machine is ever shared with another.
//
// L offers: width; F and I, vectors of width floats and int32 (plain numbers for width 1); splat, load,
// store; least and most; to_float, to_int (of whole numbers); bits and floats (the same bits as the other
// type); any (of a comparison); scale_sums, the loop over int16 weights, and shorten, which takes binary
// places from them; transpose, and turn, which does it to rows that stand anywhere.

namespace nibble::fitting {

/// Sums over the N weights of a block, q being the codes nearest to x * multiplier.
template <class I>
struct CodeSums {
  I xq, qq;
};

/// How codes are found in int16: a product with a multiplier in [-1, 1) * 2^15 that keeps `fraction` binary
/// places, then a product with 2^(15 - fraction); both round half up.
struct CodeGrid {
  int low, high;
  int fraction;  ///< products up to 2^(15 - fraction) fit

  /// The same codes in floats.
  template <class L>
  typename L::F nearest(typename L::F u) const noexcept;
};

/// What is known of codes before they are found. With whole multipliers one product does, and the grid may
/// have room for all of them, or for all but the highest.
enum class Codes { any, whole, whole_not_low, whole_inside };
constexpr bool may_be_low(Codes how) { return how == Codes::any || how == Codes::whole; }
constexpr bool may_be_high(Codes how) { return how != Codes::whole_inside; }

/// One block at a time: the compiler makes vectors along the block of these loops over integers, whose sums
/// have no order.
struct OneLane {
  static constexpr int width = 1;
  using F = float;
  using I = int32_t;

  static F splat(float v) noexcept { return v; }
  static I splat_int(int32_t v) noexcept { return v; }
  static F load(const float* p) noexcept { return *p; }
  static I load_int(const int32_t* p) noexcept { return *p; }
  static void store(float* p, F v) noexcept { *p = v; }
  static void store_int(int32_t* p, I v) noexcept { *p = v; }
  static F to_float(I v) noexcept { return static_cast<float>(v); }
  static I to_int(F v) noexcept { return static_cast<int32_t>(v); }
  static I bits(F v) noexcept { return std::bit_cast<int32_t>(v); }
  static F floats(I v) noexcept { return std::bit_cast<float>(v); }
  static F least(F a, F b) noexcept { return b < a ? b : a; }
  static F most(F a, F b) noexcept { return a < b ? b : a; }
  static bool any(bool mask) noexcept { return mask; }

  template <int N, Codes How>
  static CodeSums<I> scale_sums(const int16_t* x, I multiplier, const CodeGrid& grid) noexcept {
    const auto unit = static_cast<int16_t>(1 << (15 - grid.fraction));
    const auto low = static_cast<int16_t>(grid.low), high = static_cast<int16_t>(grid.high);
    const auto by = static_cast<int16_t>(multiplier);
    CodeSums<I> s{};
    for (int i = 0; i < N; ++i) {
      int16_t q = product(x[i], by);
      if (How == Codes::any) q = product(q, unit);
      if (may_be_low(How)) q = q < low ? low : q;
      if (may_be_high(How)) q = q > high ? high : q;
      s.xq += x[i] * q;
      s.qq += q * q;
    }
    return s;
  }
  template <int N>
  static void shorten(const int16_t* x, int places, int16_t* out) noexcept {
    for (int i = 0; i < N; ++i) out[i] = product(x[i], static_cast<int16_t>(1 << (15 - places)));
  }
  static void transpose(const int32_t* rows, int n, int32_t* out) noexcept {
    std::memcpy(out, rows, static_cast<size_t>(n) * sizeof *out);
  }
  static void turn(const float* const* rows, int n, float* out) noexcept {
    std::memcpy(out, rows[0], static_cast<size_t>(n) * sizeof *out);
  }

 private:
  static int16_t product(int16_t a, int16_t b) noexcept {
    return static_cast<int16_t>((((int32_t{a} * int32_t{b}) >> 14) + 1) >> 1);
  }
};

template <class L>
typename L::F absolute(typename L::F v) noexcept {
  return L::floats(L::bits(v) & 0x7fffffff);
}
template <class L>
typename L::F least(typename L::F a, typename L::F b) noexcept {
  return L::least(a, b);
}
template <class L>
typename L::F most(typename L::F a, typename L::F b) noexcept {
  return L::most(a, b);
}
/// Nearest integer, ties to even; |v| < 2^22.
template <class L>
typename L::F whole(typename L::F v) noexcept {
  const typename L::F magic = L::splat(0x1.8p23f);
  return (v + magic) - magic;
}
template <class L>
typename L::F CodeGrid::nearest(typename L::F u) const noexcept {
  const typename L::F bottom = L::splat(static_cast<float>(low)), top = L::splat(static_cast<float>(high));
  return whole<L>(least<L>(most<L>(u, bottom), top));
}
template <class L>
typename L::F inverse_of(typename L::F d) noexcept {
  const typename L::F one = L::splat(1.0f), zero{};
  return absolute<L>(d) > L::splat(0x1p-126f) ? one / d : zero;
}

/// f16 bits of d, saturating; as store_f16.
template <class L>
typename L::I stored_f16(typename L::F d) noexcept {
  using I = typename L::I;
  const I raw = L::bits(d);
  const I magnitude = L::bits(least<L>(L::floats(raw & 0x7fffffff), L::splat(65504.0f)));
  const I normal = (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // Below 2^-14 the result is a multiple of 2^-24, which is also the last place of floats in [0.5, 1).
  const I small = L::bits(L::floats(magnitude) + L::splat(0.5f)) - 0x3f000000;
  const I result = magnitude < L::splat_int(0x38800000) ? small : normal;
  return ((raw >> 16) & 0x8000) | result;
}
/// The number that finite f16 bits stand for; as f16_to_f32, no float is subnormal on the way.
template <class L>
typename L::F f16_value(typename L::I h) noexcept {
  using I = typename L::I;
  const I magnitude = h & 0x7fff, shifted = magnitude << 13;
  const I small = L::bits(L::floats(shifted + (113 << 23)) - L::splat(0x1p-14f));
  const I value = magnitude < L::splat_int(0x0400) ? small : shifted + (112 << 23);
  return L::floats(value | ((h & 0x8000) << 16));
}
/// The f16 number `steps` places further from zero (nearer for negative steps); stops at the ends.
template <class L>
typename L::I stepped_f16(typename L::I h, int steps) noexcept {
  using I = typename L::I;
  const I low = L::splat_int(0), high = L::splat_int(0x7bff);
  I magnitude = (h & 0x7fff) + steps;
  magnitude = magnitude < low ? low : magnitude;
  magnitude = magnitude > high ? high : magnitude;
  return (h & 0x8000) | magnitude;
}

/// Of n weights the nearest integers to (x + add) * by in [low, high], counted from low; n a multiple of 16.
template <class L>
void nearest_codes(const float* x, int n, float add, float by, int low, int high, int32_t* codes) noexcept {
  using Lanes = typename L::template UpTo<16>;
  using F = typename Lanes::F;
  // The magic number brings the nearest integer, ties to even, into the low bits.
  const F magic = Lanes::splat(0x1.8p23f), bottom = Lanes::splat(static_cast<float>(low)),
          top = Lanes::splat(static_cast<float>(high));
  const auto least_bits = Lanes::splat_int(std::bit_cast<int32_t>(0x1.8p23f) + low);
  for (int i = 0; i < n; i += Lanes::width) {
    const F u = (Lanes::load(x + i) + Lanes::splat(add)) * Lanes::splat(by);
    const F v = least<Lanes>(most<Lanes>(u, bottom), top);
    Lanes::store_int(codes + i, Lanes::bits(v + magic) - least_bits);
  }
}

/// Where the blocks of each lane stand: N weights each, and their importance (all null: none).
template <class L>
struct LaneInput {
  const float* x[L::width];
  const float* importance[L::width];
};

/// The fit of a single block, by the search that runs on many.
template <class F>
typename F::Params fit_alone(const float* x, const float* importance) noexcept {
  typename F::Params found;
  F::template fit_lanes<OneLane>({{x}, {importance}}, &found);
  return found;
}

/// What one scale gives, in units of the block's largest magnitude: sums over codes q.
template <class L>
struct LaneTrial {
  using F = typename L::F;
  F xq, qq;
  /// Squared error of the scale d with these codes, less the sum of squares of the block.
  F error(F d) const noexcept { return d * (d * qq - (xq + xq)); }
  /// Whether these codes, with their best scale, leave less error than the others with theirs.
  auto better_than(const LaneTrial& other) const noexcept {
    return (xq * xq) * other.qq > (other.xq * other.xq) * qq;
  }
  /// The best scale for these codes.
  typename L::F step() const noexcept {
    const typename L::F zero{};
    return qq > zero ? xq / qq : zero;
  }
};

/// The largest magnitude of n weights, and whether a positive one has it. Below what any format can store a
/// scale for, a block counts as zero.
struct Extreme {
  float reach;
  bool positive;
};
template <class L>
Extreme extreme_of(const float* x, int n) noexcept {
  // Bits of floats order as integers do, whose maximum the compiler finds in vectors.
  int32_t magnitude = 0, top = 0;
  for (int i = 0; i < n; ++i) {
    int32_t b;
    std::memcpy(&b, x + i, sizeof b);
    magnitude = (b & 0x7fffffff) > magnitude ? b & 0x7fffffff : magnitude;
    top = b > top ? b : top;
  }
  float reach;
  std::memcpy(&reach, &magnitude, sizeof reach);
  return {reach > 0x1p-125f ? reach : 0.0f, top == magnitude};
}

/// N weights of every lane in int16, all alike in importance. Weights are seen relative to the extreme one,
/// which is -32767: a grid that reaches further below zero than above has its long side there.
template <class L, int N>
class PlainBlock {
  using F = typename L::F;
  using I = typename L::I;

 public:
  /// Whole multipliers will be given in units of 2^-places.
  PlainBlock(const LaneInput<L>& in, int first, const CodeGrid& grid, int places) noexcept
      : grid_(grid), places_(places) {
    const float* rows[L::width];
    for (int w = 0; w < L::width; ++w) rows[w] = in.x[w] + first;
    alignas(64) float x[N * L::width];
    L::turn(rows, N, x);
    // Bits of floats order as integers do.
    I magnitude{}, top{};
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const I b = L::bits(L::load(x + i * L::width)), m = b & 0x7fffffff;
      magnitude = m > magnitude ? m : magnitude;
      top = b > top ? b : top;
    }
    const F zero{}, least = L::splat(0x1p-125f), one = L::splat(1.0f);
    const F reach = L::floats(magnitude) > least ? L::floats(magnitude) : zero;
    unit_ = top == magnitude ? -reach : reach;
    const F factor = reach > zero ? L::splat(32767.0f) / (reach > zero ? unit_ : one) : zero;
    for (int i = 0; i < N; i += 2) {
      // The magic number brings the nearest integer into the low bits.
      const F magic = L::splat(0x1.8p23f);
      const I low = L::bits(L::load(x + i * L::width) * factor + magic);
      const I high = L::bits(L::load(x + (i + 1) * L::width) * factor + magic);
      alignas(64) int32_t pairs[L::width];
      L::store_int(pairs, (low & 0xffff) | (high << 16));
      std::memcpy(x_ + i * L::width, pairs, sizeof pairs);
    }
    if (places != 0) L::template shorten<N>(x_, places, coarse_);
  }

  /// Block = normalized weights * unit; 0 for a block of zeros.
  F unit() const noexcept { return unit_; }

  /// Codes nearest to x * inverse.
  LaneTrial<L> at(F inverse) const noexcept {
    const F scale = L::splat(static_cast<float>(1 << grid_.fraction) * (32768.0f / 32767.0f));
    const F multiplier = least<L>(absolute<L>(inverse) * scale, L::splat(32767.0f));
    const auto s = L::template scale_sums<N, Codes::any>(x_, L::to_int(multiplier + L::splat(0.5f)), grid_);
    return {L::to_float(s.xq) * L::splat(1 / 32767.0f), L::to_float(s.qq)};
  }
  /// The same for -extreme * multiplier * 2^-places, about: weights count in steps of 2^(places - 15).
  LaneTrial<L> whole(int multiplier) const noexcept {
    const int half = 1 << places_ >> 1, high = ((grid_.high + 1) << places_) - half,
              low = ((1 - grid_.low) << places_) - half;
    if (multiplier < high && multiplier < low) return trial<Codes::whole_inside>(multiplier);
    return multiplier < low ? trial<Codes::whole_not_low>(multiplier) : trial<Codes::whole>(multiplier);
  }

 private:
  template <Codes How>
  LaneTrial<L> trial(int multiplier) const noexcept {
    const auto s =
        L::template scale_sums<N, How>(places_ == 0 ? x_ : coarse_, L::splat_int(multiplier), grid_);
    const float unit = static_cast<float>(1 << places_) / 32767.0f;
    return {L::to_float(s.xq) * L::splat(unit), L::to_float(s.qq)};
  }

  alignas(64) int16_t x_[L::width * N];
  alignas(64) int16_t coarse_[L::width * N];
  CodeGrid grid_;
  int places_;
  F unit_;
};

/// N weights of every lane, each with its importance; codes on any grid.
template <class L, int N, class Grid>
class WeightedBlock {
  using F = typename L::F;

 public:
  WeightedBlock(const LaneInput<L>& in, int first, const Grid& grid) noexcept : grid_(grid) {
    float rows[L::width][N], weights[L::width][N];
    alignas(64) float unit[L::width];
    for (int w = 0; w < L::width; ++w) {
      const float* x = in.x[w] + first;
      const float* importance = in.importance[w] != nullptr ? in.importance[w] + first : nullptr;
      const Extreme e = extreme_of<L>(x, N);
      unit[w] = e.positive ? -e.reach : e.reach;
      const float factor = e.reach > 0 ? 1.0f / unit[w] : 0.0f;
      const float heaviest = importance != nullptr ? extreme_of<L>(importance, N).reach : 0.0f;
      const bool weighted = heaviest > 0x1p-100f && heaviest <= 0x1p126f;
      const float inverse = weighted ? 1.0f / heaviest : 0.0f;
      for (int i = 0; i < N; ++i) {
        rows[w][i] = x[i] * factor;
        // Never quite 0, so that dead weights stay what they were.
        weights[w][i] = weighted ? importance[i] * inverse : 1.0f;
        if (weights[w][i] < 0x1p-40f) weights[w][i] = 0x1p-40f;
      }
    }
    turn(rows[0], x_);
    turn(weights[0], w_);
    unit_ = L::load(unit);
  }

  F unit() const noexcept { return unit_; }

  LaneTrial<L> at(F inverse) const noexcept {
    // Four sums in turn: additions need not wait for each other, and a single lane can be a vector of four.
    F xq[4] = {}, qq[4] = {};
    for (int i = 0; i < N; i += 4) {
      for (int k = 0; k < 4; ++k) {
        const F x = L::load(x_ + (i + k) * L::width), w = L::load(w_ + (i + k) * L::width);
        const F q = grid_.template nearest<L>(x * inverse);
        const F wq = w * q;
        xq[k] += wq * x;
        qq[k] += wq * q;
      }
    }
    return {(xq[0] + xq[2]) + (xq[1] + xq[3]), (qq[0] + qq[2]) + (qq[1] + qq[3])};
  }

 private:
  static void turn(const float* rows, float* out) noexcept {
    int32_t in[L::width * N], turned[L::width * N];
    std::memcpy(in, rows, sizeof in);
    L::transpose(in, N, turned);
    std::memcpy(out, turned, sizeof turned);
  }

  alignas(64) float x_[L::width * N];
  alignas(64) float w_[L::width * N];
  Grid grid_;
  F unit_;
};

/// Whether some of n importance weights differ; if not, there is nothing to weigh.
template <class L>
bool uneven(const float* w, int n) noexcept {
  bool differ = false;
  for (int i = 1; i < n; ++i) differ |= w[i] != w[0];
  return differ;
}

}  // namespace nibble::fitting
