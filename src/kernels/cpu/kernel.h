#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elementwise.h"
#include "kernels/streams.h"

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

/// a[i][j] -= sum over k of x[i][k] * y[k][j], one after the other in ascending k, in double: a is [m, n].
struct SubtractTask {
  double* a;
  int64_t m, a_stride;
  const double* x;
  int64_t x_stride;
  const double* y;
  int64_t y_stride;
  int64_t n, k;
};

/// 256 activations of one token rounded to 8 bits: 32 share a scale, x = scale * q, |q| <= 127.
struct RoundedUnit {
  int8_t q[256];
  int32_t bias[64];   ///< of each four neighbours: minus the sum of q times what the kernel adds to its codes
  int32_t start[16];  ///< of each 16: the same
  float scale[16];    ///< of each 16
  float sum[16];      ///< scale * sum of q, of each 16
  int32_t start_pair[8];  ///< `start` of each 32; this and the next for lanes only
  float sum_pair[8];      ///< `sum` of each 32
};
constexpr int64_t unit_weights = 256;

/// x [m, k] to m * ceil(k / 256) units of what a kernel takes (RoundedUnit, or the level's own), the last of
/// a row padded with zeros. NaN and infinity make the scale NaN.
struct RoundTask {
  const float* x;
  int64_t m, k;
  int32_t bias;
  std::byte* out;
  int64_t token_step, unit_step;  ///< bytes from a token's unit to that of the next, and to the token's next
};

/// y[i][j] of few rows of x with rows [first, first + n) of a weight in its own format.
struct DotTask {
  const std::byte* const* planes;  ///< of the whole tensor
  int64_t first, n, k;
  const void* x;  ///< m rows: RoundedUnit [m, ceil(k / 256)], or float [m, k] where the row takes floats
  int64_t m;
  float* y;  ///< y[i * y_stride + j], j < n
  int64_t y_stride;
};

/// Weights as bf16 tiles of 32 columns by 16 rows: pair of columns p < 16, row r: columns 2 p and 2 p + 1 of
/// r. Rows [first, first + n), n <= 16; what lies beyond the matrix is zero.
struct PanelTask {
  const std::byte* const* planes;
  int64_t first, n, k;
  uint16_t* out;  ///< 512 for each 32 columns
};

/// f32 rows, `stride` apart, n <= 16, as bf16 tiles.
struct PackTask {
  const float* rows;
  int64_t n, stride, k;
  uint16_t* out;  ///< 512 for each 32 columns
};

/// Products of bf16 tiles with f32 sums.
struct TileTask {
  /// Weights, groups of 16 rows: ceil(k / 32) tiles each as PanelTask makes them; null: they stand in lanes.
  const uint16_t* w;
  const std::byte* lanes;                                                       ///< of the first row
  int64_t lane_bytes;                                                           ///< of 256 columns of 16 rows
  void (*lines)(const std::byte* unit, int64_t group, uint16_t* out) noexcept;  ///< of LaneRow
  int64_t n;                                                                    ///< rows that exist
  const uint16_t* x;  ///< [groups of 16 tokens][ceil(k / 32)] tiles of 16 tokens by 32 columns
  int64_t m;          ///< tokens that exist
  int64_t k;
  uint16_t* panels;  ///< memory for tile_panels numbers: weights from lanes
  float* sums;       ///< memory for tile_sums(n, m, k) of them; both in cache lines
  float* y;          ///< y[token * y_stride + row]
  int64_t y_stride;
  bool read_next;  ///< y is read at once: it stays in the caches
};
constexpr int64_t tile_columns = 256;  ///< that are multiplied at once
constexpr int64_t tile_panels = int64_t{2} * 32 * tile_columns;
constexpr int64_t tile_sums(int64_t n, int64_t m, int64_t k) noexcept {
  return k <= tile_columns ? 1024 : (n + 31) / 32 * ((m + 31) / 32) * 1024;
}

/// One line of the selection table: products with weights of some format.
struct KernelRow {
  const char* name;
  const char* format;     ///< canonical word of the format; null: any, given as decoded f32 panels
  int64_t cols_multiple;  ///< rows must be a multiple of this long
  int32_t bias;           ///< for RoundTask
  bool floats;            ///< `dot` takes activations as they are
  void (*run)(const ProductTask&) noexcept;  ///< of the line that takes any format
  void (*dot)(const DotTask&) noexcept;
  void (*panel)(const PanelTask&) noexcept;
};

/// y[i][j] of rows of x with n rows that stand in lanes (kernels/lanes.h).
struct LaneTask {
  const std::byte* w;  ///< of the first row
  int64_t n, k;
  const std::byte* x;  ///< [ceil(k / 256), m] units as LaneRow::round makes them
  int64_t m;
  float* sums;  ///< memory for m * most_lane_rows of them
  float* y;     ///< y[i * y_stride + j], j < n
  int64_t y_stride;
  Streams streams;
};
constexpr int64_t lane_rows = 16;
constexpr int64_t most_lane_rows = 64;

/// Products with weights in lanes.
struct LaneRow {
  const char* name;
  const char* format;
  int32_t bias;     ///< for RoundTask
  int64_t x_bytes;  ///< of 256 activations
  void (*round)(const RoundTask&) noexcept;
  void (*product)(const LaneTask&) noexcept;
  bool floats = false;  ///< activations are not rounded
  /// Columns [16 group, 16 group + 16) of a unit as half a bf16 tile, 256 numbers; null: the level has no
  /// tiles.
  void (*lines)(const std::byte* unit, int64_t group, uint16_t* out) noexcept = nullptr;
};

struct TileKernel {
  void (*run)(const TileTask&) noexcept;
  const char* name;
  int64_t from;        ///< tokens from which it is faster than products of floats
  int64_t from_whole;  ///< the same of products of whole numbers in lanes
};
constexpr int64_t tiles_never = int64_t{1} << 40;

/// Tokens of some channels in tiles of bf16, a group of 16 channels after the other: 32 tokens of every
/// channel, and 16 channels of every pair of tokens. Zeros where there are no more.
struct GramPackTask {
  const float* x;  ///< [rows, stride], from the first of the channels on
  int64_t rows, stride;
  int64_t cols;
  uint16_t *left, *right;  ///< [ceil(rows / 32)][512] of the first group
  int64_t group_stride;    ///< numbers from one group to the next
};

/// Adds the sums over rows of x[row][i] * x[row][j] to what stands for channels i and j: of pairs of groups,
/// each with those from `first` to `first + n`, but only with itself and later ones.
struct GramTask {
  const uint16_t *left, *right;  ///< of all groups, as `pack` makes them
  int64_t group_stride;
  int64_t blocks;  ///< of 32 rows
  int64_t cols;
  int64_t first, n;  ///< pairs of groups
  float* sums;       ///< gram_pairs(pairs of groups) times gram_pair numbers, in cache lines
};
constexpr int64_t gram_block = 512;  ///< numbers of 32 tokens of a group on one side
constexpr int64_t gram_side = 32;    ///< channels of a pair of groups
/// Of channels i of one pair with j of another: [i / 16][j / 16][i % 16][j % 16].
constexpr int64_t gram_pair = gram_side * gram_side;
/// Where a pair with a later one stands among n pairs: the first one with all, the second one with all but
/// the first, and so on.
constexpr int64_t gram_place(int64_t n, int64_t pair, int64_t later) noexcept {
  return pair * n - pair * (pair - 1) / 2 + later - pair;
}
constexpr int64_t gram_pairs(int64_t n) noexcept { return n * (n + 1) / 2; }

/// XᵀX by a matrix unit.
struct GramKernel {
  void (*pack)(const GramPackTask&) noexcept = nullptr;
  void (*run)(const GramTask&) noexcept = nullptr;
};

constexpr int64_t split_depth = 128;  ///< rows of v whose products are summed up together
constexpr int64_t split_tile = 512;   ///< numbers of a tile of one of the parts

/// Columns of split_depth rows of v as tiles of bf16, of each group of 16 columns for each 32 rows: what
/// rounding gives, and what it leaves.
struct SplitPackTask {
  const float* v;
  int64_t stride;
  int64_t cols;
  uint16_t* out;  ///< [ceil(cols / 16)][split_depth / 32][2][split_tile]
};

/// y[i][d] += sum over t < split_depth of p[i][t] * v[t][d], each number taken as the sum of two bf16,
/// without the products of both second ones.
struct SplitSumTask {
  const uint16_t* v;  ///< as `pack` makes it
  int64_t groups;     ///< of 16 columns
  const float* p;
  int64_t m, p_stride;
  uint16_t* rows;  ///< memory for [ceil(m / 16)][split_depth / 32][2][split_tile]
  float* y;        ///< as many rows as a multiple of 16 has
  int64_t y_stride;
};

struct SplitKernel {
  void (*pack)(const SplitPackTask&) noexcept = nullptr;
  void (*run)(const SplitSumTask&) noexcept = nullptr;
};

struct PeakKernel {
  /// Multiply-adds on registers in the fastest unit of the level; returns how many it did.
  int64_t (*run)(int64_t rounds) noexcept;
  const char* unit;
};

/// The ends of what finite values of |x| <= threshold there are; 0 counts as one of them.
struct ExtremesTask {
  const float* x;
  int64_t n;
  float threshold;
};
struct Extremes {
  float low, high;
  bool finite;  ///< all x are
};

/// One row of activations to whole numbers: round(x * inverse) + zero, ties to even, within [low, high]; zero
/// where |x| > threshold. NaN gives any of them.
struct Int8RoundTask {
  const float* x;
  int64_t k;
  float inverse, threshold;
  int32_t zero, low, high;  ///< in [-128, 127]
  std::byte* out;           ///< whole_row_bytes(k) of the kernels
};

/// sums[p][i][r] = sum over c of x[i][c] * w[16 p + r][c] for m rows of whole numbers and one or two panels
/// of 16 rows of weights. Exact.
struct Int8ProductTask {
  const int8_t* w;  ///< [k / adjacent][16][adjacent] for each panel
  int64_t panels, w_stride;
  const std::byte* x;   ///< m rows as `round` makes them, from the first of these columns on
  int64_t m, x_stride;  ///< bytes
  int64_t k;            ///< a multiple of 4, at most 32768
  /// [panels][m][16], each panel beginning after a multiple of int8_tokens rows. Of x and here there is
  /// memory for such a multiple; what stands beyond m rows may be written.
  int32_t* sums;
};
constexpr int64_t int8_tokens = 16;
constexpr int64_t int8_padded(int64_t m) noexcept {
  return (m + int8_tokens - 1) / int8_tokens * int8_tokens;
}

/// total[i][r] = scale[r] * (sums[i][r] - shifts[i] * code_sums[r] - x_sums[i * x_stride] * zeros[r]), or
/// that added to it, for m rows and 16 rows of weights; whole numbers wrap.
struct Int8ScaleTask {
  const int32_t* sums;
  int64_t m;
  const int32_t *shifts, *code_sums;
  bool one_shift;                 ///< all are alike
  const int32_t *zeros, *x_sums;  ///< both null: none
  int64_t x_stride;
  const float* scale;
  bool add;
  float* total;
};

/// y[i][r] = act(total[i][r] * scales[i] + bias[r]), r < n <= 16.
struct Int8StoreTask {
  const float* total;
  int64_t m;
  const float* scales;
  const float* bias;                 ///< null: none
  const ActivationKind* activation;  ///< null: none
  int64_t n;
  float* y;
  int64_t y_stride;
};

/// Products of whole numbers of 8 bits.
struct Int8Kernels {
  const char* name;
  int64_t adjacent;  ///< columns of one row of weights that stand together
  int64_t x_bytes;   ///< of an activation
  int32_t x_offset;  ///< what `round` adds to each
  Extremes (*extremes)(const ExtremesTask&) noexcept;
  void (*round)(const Int8RoundTask&) noexcept;
  void (*products)(const Int8ProductTask&) noexcept;
  void (*scale)(const Int8ScaleTask&) noexcept;
  void (*store)(const Int8StoreTask&) noexcept;
  /// Both at once: nothing is added to and `total` is not used.
  void (*scale_and_store)(const Int8ScaleTask&, const Int8StoreTask&) noexcept;
};
constexpr int64_t int8_rows = 16;
/// Columns are padded to a multiple of this; weights with zeros.
constexpr int64_t int8_cols = 4;

/// Functions of kernels/elementwise.h.
struct Elementwise {
  void (*activate)(ActivationKind, const float* x, const float* times, float* y, int64_t n) noexcept;
  void (*exponentials)(const float* x, float minus, float* y, int64_t n) noexcept;
  void (*normalize)(const NormTask&) noexcept;
  void (*see_columns)(const ColumnsTask&) noexcept;
};

struct SumKernels {
  void (*weighted_sum)(const WeightedSumTask&) noexcept;
  void (*subtract_products)(const SubtractTask&) noexcept;
};

/// What one instruction set offers.
struct CpuKernels {
  const KernelRow* rows;  ///< the last one takes any format
  int row_count;
  void (*products)(const ProductTask&) noexcept;  ///< plain f32
  SumKernels sums;                                ///< every product rounded: the same bits at every level
  SumKernels fused_sums;                          ///< with fused multiply-adds where the level has them
  /// Reads `bytes` (a multiple of 256 at an address of any alignment) and returns their sum as 64-bit words.
  uint64_t (*read)(const void* at, size_t bytes) noexcept;
  PeakKernel peak;

  void (*round)(const RoundTask&) noexcept;       ///< null: no products of rounded activations
  void (*pack_rows)(const PackTask&) noexcept;    ///< weights; null: no tiles
  void (*pack_tokens)(const PackTask&) noexcept;  ///< tiles of tokens by columns
  TileKernel tiles;

  Int8Kernels int8;
  Elementwise elementwise;

  GramKernel gram = {};    ///< null: no matrix unit
  SplitKernel split = {};  ///< null: no matrix unit

  const LaneRow* lanes = nullptr;
  int lane_count = 0;
  Streams streams = Streams::alone;
  /// Up to so many tokens, lanes of whole numbers go to threads 16 rows at a time, not 64.
  int64_t narrow_tokens = 0;
};

extern const CpuKernels cpu_scalar;
#if defined(__x86_64__)
extern const CpuKernels cpu_avx2;
extern const CpuKernels cpu_avx512;
extern const LaneRow lanes_avx2[];
extern const int lanes_avx2_count;
extern const LaneRow lanes_vnni[];
extern const int lanes_vnni_count;
/// Activations to RoundedUnit.
void round_rows_vnni(const RoundTask&) noexcept;
extern const CpuKernels cpu_avx512_vnni;  ///< AVX-512 with VNNI, BF16, VBMI
extern const TileKernel amx_tiles;        ///< what AMX has beyond cpu_avx512_vnni
extern const GramKernel amx_gram;
extern const SplitKernel amx_split;
void int8_products_vnni(const Int8ProductTask&) noexcept;
/// The same for many rows.
void int8_products_amx(const Int8ProductTask&) noexcept;
extern const PeakKernel amx_peak;
#elif defined(__aarch64__)
extern const CpuKernels cpu_neon;
extern const LaneRow lanes_neon[];
extern const int lanes_neon_count;
extern const LaneRow lanes_dotprod[];
extern const int lanes_dotprod_count;
extern const LaneRow lanes_i8mm[];
extern const int lanes_i8mm_count;
extern const PeakKernel neon_peak, dotprod_peak, i8mm_peak;
extern const Int8Kernels int8_dotprod;
/// The same for many rows.
void int8_products_i8mm(const Int8ProductTask&) noexcept;
#endif

}  // namespace nibble
