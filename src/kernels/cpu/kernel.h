#pragma once

#include <cstddef>
#include <cstdint>

// What the files of this folder share. They are compiled for instruction sets that the machine may lack, so
// nothing here may emit code that the linker could pick for another file: plain structs only.

namespace nibble {

/// y[i][j] = sum over k of x[i][k] * w[j][k], for m rows of x and n rows of w; strides in elements.
/// The order of the sum is fixed: 16 partial sums over k mod 16, each in ascending k, then halves added
/// (lane j to j + 8, j + 4, j + 2, j + 1). No fused multiply-add: every level gives the same bits.
struct ProductTask {
  const float* x;
  int64_t m, x_stride;
  const float* w;
  int64_t n, w_stride;
  int64_t k;
  float* y;
  int64_t y_stride;
};

/// y[i][d] += sum over t of p[i][t] * v[t][d], in ascending t.
struct WeightedSumTask {
  const float* p;
  int64_t m, p_stride;
  const float* v;
  int64_t t, v_stride;
  int64_t d;
  float* y;
  int64_t y_stride;
};

/// One line of the selection table: a matrix product with weights of some format.
struct KernelRow {
  const char* name;
  const char* format;  ///< FormatInfo::name that it multiplies; null: any, given as decoded f32 panels
  void (*run)(const ProductTask&) noexcept;
};

/// What one instruction set offers.
struct CpuKernels {
  const KernelRow* rows;  ///< best first; the last one takes any format
  int row_count;
  void (*products)(const ProductTask&) noexcept;  ///< plain f32
  void (*weighted_sum)(const WeightedSumTask&) noexcept;
  /// Reads `bytes` (a multiple of 64 at an address of any alignment) and returns a sum of them.
  uint64_t (*read)(const void* at, size_t bytes) noexcept;
  /// Multiply-adds on registers in the fastest unit of the level; returns how many it did.
  int64_t (*peak)(int64_t rounds) noexcept;
  const char* peak_unit;
};

extern const CpuKernels cpu_scalar;
#if defined(__x86_64__)
extern const CpuKernels cpu_avx2;
extern const CpuKernels cpu_avx512;
#elif defined(__aarch64__)
extern const CpuKernels cpu_neon;
#endif

}  // namespace nibble
