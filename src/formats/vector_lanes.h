#pragma once

#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Vectors of the compiler's own as lanes (formats/lanes_of_blocks.h says what lanes offer and what for).

namespace nibble::fitting {

/// g++ 12 takes no vector_size that depends on a template parameter.
template <int Width>
struct VectorTypes;
template <>
struct VectorTypes<4> {
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
};
template <>
struct VectorTypes<8> {
  typedef float F __attribute__((vector_size(32)));
  typedef int32_t I __attribute__((vector_size(32)));
};
template <>
struct VectorTypes<16> {
  typedef float F __attribute__((vector_size(64)));
  typedef int32_t I __attribute__((vector_size(64)));
};

/// `Home` is a type of the translation unit that has the instructions; see lanes_of_blocks.h.
template <int Width, class Home>
struct VectorLanes {
  static constexpr int width = Width;
  using F = typename VectorTypes<Width>::F;
  using I = typename VectorTypes<Width>::I;
  /// The same instructions with at most this many lanes.
  template <int Most>
  using UpTo = VectorLanes<(Most < Width ? Most : Width), Home>;

  static F splat(float v) noexcept { return v - F{}; }
  static I splat_int(int32_t v) noexcept { return v - I{}; }
  template <class V, class T>
  static V load_as(const T* p) noexcept {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static F load(const float* p) noexcept { return load_as<F>(p); }
  static I load_int(const int32_t* p) noexcept { return load_as<I>(p); }
  static void store(float* p, F v) noexcept { __builtin_memcpy(p, &v, sizeof v); }
  static void store_int(int32_t* p, I v) noexcept { __builtin_memcpy(p, &v, sizeof v); }
  static F to_float(I v) noexcept { return __builtin_convertvector(v, F); }
  static I to_int(F v) noexcept { return __builtin_convertvector(v, I); }
  static I bits(F v) noexcept { return (I)v; }
  static F floats(I v) noexcept { return (F)v; }
  /// b < a ? b : a, and a < b ? b : a. The instructions do just that, but g++ 12 compares and blends
  /// (and takes the undefined registers that its intrinsics without masks start with for mistakes).
  static F least(F a, F b) noexcept {
#if defined(__AVX512F__)
    if constexpr (Width == 16) return (F)_mm512_maskz_min_ps(0xffff, (__m512)b, (__m512)a);
#endif
#if defined(__AVX__)
    if constexpr (Width == 8) return (F)_mm256_min_ps((__m256)b, (__m256)a);
#endif
#if defined(__SSE__)
    if constexpr (Width == 4) return (F)_mm_min_ps((__m128)b, (__m128)a);
#endif
    return b < a ? b : a;
  }
  static F most(F a, F b) noexcept {
#if defined(__AVX512F__)
    if constexpr (Width == 16) return (F)_mm512_maskz_max_ps(0xffff, (__m512)b, (__m512)a);
#endif
#if defined(__AVX__)
    if constexpr (Width == 8) return (F)_mm256_max_ps((__m256)b, (__m256)a);
#endif
#if defined(__SSE__)
    if constexpr (Width == 4) return (F)_mm_max_ps((__m128)b, (__m128)a);
#endif
    return a < b ? b : a;
  }
  static bool any(I mask) noexcept {
    int64_t pairs[Width / 2], all = 0;
    __builtin_memcpy(pairs, &mask, sizeof mask);
    for (const int64_t v : pairs) all |= v;
    return all != 0;
  }

  /// rows[width][n] to out[n][width], n a multiple of width.
  static void transpose(const int32_t* rows, int n, int32_t* out) noexcept {
    transpose_from([=](int i) { return rows + i * n; }, n, out);
  }
  /// Rows that stand anywhere.
  static void turn(const float* const* rows, int n, float* out) noexcept {
    transpose_from([=](int i) { return rows[i]; }, n, out);
  }

 private:
  template <class Row, class T>
  static void transpose_from(const Row& row, int n, T* out) noexcept {
    for (int at = 0; at < n; at += Width) {
      I v[Width];
#pragma GCC unroll 16
      for (int i = 0; i < Width; ++i) v[i] = load_as<I>(row(i) + at);
      exchange<1>(v);
      exchange<2>(v);
      if constexpr (Width >= 8) exchange<4>(v);
      if constexpr (Width >= 16) exchange<8>(v);
#pragma GCC unroll 16
      for (int i = 0; i < Width; ++i) __builtin_memcpy(out + (at + i) * Width, v + i, sizeof v[i]);
    }
  }
  /// Afterwards the bit S of an element's row and that of its column have changed places.
  template <int S>
  static void exchange(I* v) noexcept {
#pragma GCC unroll 16
    for (int i = 0; i < Width; ++i) {
      if ((i & S) == 0) exchange_rows<S>(v[i], v[i + S], std::make_integer_sequence<int, Width>());
    }
  }
  template <int S, int... K>
  static void exchange_rows(I& low, I& high, std::integer_sequence<int, K...>) noexcept {
    const I a = low, b = high;
    low = __builtin_shufflevector(a, b, ((K & S) == 0 ? K : K - S + Width)...);
    high = __builtin_shufflevector(a, b, ((K & S) == 0 ? K + S : K + Width)...);
  }
};

}  // namespace nibble::fitting
