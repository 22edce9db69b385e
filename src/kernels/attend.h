#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nibble {

/// Attention of some tokens' heads to the one key head they share, with a running softmax over pages of 64
/// keys. Row r of the task is token r / group, head r % group: at q + token * q_stride + head * d, and so in
/// out.
struct AttendTask {
  const float* q;
  float* out;
  int64_t q_stride;
  int64_t tokens, group, d;
  const std::byte *k, *v;  ///< the head's first page (kernels/kv_format.h)
  int64_t k_step, v_step;  ///< bytes to its next one
  float scale, softcap;    ///< as in AttentionAttributes
  int64_t position;        ///< of the first token
  int64_t keys;            ///< positions that exist
  int64_t window;          ///< as in AttentionAttributes
  bool causal;
  int64_t first, last;  ///< positions to look at; `first` is a multiple of 64
  /// Null: `out` gets the result. Else rows of d + 2: the weighted sum of values, the sum of weights, and the
  /// exponent of 2 that both are relative to, for `merge_attention`.
  float* partial;
  bool prefetch = false;  ///< ask for the pages that come next; else the processor sees to that
};

/// tokens * group and d of a task may not exceed these.
constexpr int64_t attend_rows = 128, attend_dim = 256;

/// Scores of few queries with the keys of a page, q being scaled already.
struct ScoreTask {
  const std::byte* page;
  int64_t n, d;  ///< keys of the page that exist; columns
  int64_t m;     ///< queries, at most 8
  const float* q;
  int64_t q_stride;
  // The queries rounded to 8 bits, 32 columns sharing a scale: what kernels of whole numbers read.
  const int32_t* codes;             ///< four to a word, rows of q_stride / 4
  const float* scales;              ///< rows of attend_blocks
  const int32_t* sums;              ///< of the codes; rows of attend_blocks
  float* score;                     ///< [m, 64]
  const std::byte* next = nullptr;  ///< the page to ask for meanwhile, if any
};
constexpr int64_t attend_blocks = attend_dim / 32;

/// sum[i] += weight[i] times the values of a page.
struct MixTask {
  const std::byte* page;
  int64_t n, d, m;      ///< as in ScoreTask
  const float* weight;  ///< [m, 64]; 0 from n on
  float* sum;
  int64_t sum_stride;
  const std::byte* next = nullptr;  ///< as in ScoreTask
};

struct KeyKernel {
  const char* format;
  bool rounds;  ///< reads the rounded queries
  void (*scores)(const ScoreTask&) noexcept;
  int64_t (*page_bytes)(int64_t d) noexcept;
};
struct ValueKernel {
  const char* format;
  void (*mix)(const MixTask&) noexcept;
  int64_t (*page_bytes)(int64_t d) noexcept;
};

/// A page as bf16 tiles (cpu/attend.inc), what is beyond the `n` keys that exist (1 to 64) being zero; d is a
/// multiple of 32, `out` of 64 bytes. Keys: [4][d / 32] tiles of 16 keys by 32 columns; values: [d / 16][2]
/// tiles of 16 pairs of keys by 16 columns.
using LoadTiles = void (*)(const std::byte* page, int64_t n, int64_t d, uint16_t* out) noexcept;
struct TilePage {
  const char* format;
  LoadTiles keys, values;
};

/// What a level offers for attention: a line for each format of keys, and of values.
struct AttendKernels {
  const KeyKernel* keys = nullptr;
  int key_count = 0;
  const ValueKernel* values = nullptr;
  int value_count = 0;
  void (*attend)(const AttendTask&, const KeyKernel&, const ValueKernel&) noexcept = nullptr;
  /// Many rows with keys and values in bf16 tiles, d being a multiple of 32; null: `attend` does it.
  /// Knows neither softcap nor partial results.
  void (*tiles)(const AttendTask&, LoadTiles keys, LoadTiles values) noexcept = nullptr;
  const TilePage* tile_pages = nullptr;  ///< of the formats that tiles can be made of
  int tile_page_count = 0;
  bool prefetch = false;  ///< what AttendTask::prefetch should be on this processor
};

#if defined(__x86_64__)
extern const AttendKernels avx2_attend;
extern const AttendKernels avx512_attend;                                                    ///< with VNNI
extern void (*const avx512_attend_tiles)(const AttendTask&, LoadTiles, LoadTiles) noexcept;  ///< with BF16
extern void (*const amx_attend_tiles)(const AttendTask&, LoadTiles, LoadTiles) noexcept;
extern const TilePage avx512_tile_pages[];
extern const int avx512_tile_page_count;
#elif defined(__aarch64__)
extern const AttendKernels neon_attend;
extern const AttendKernels dotprod_attend;
#endif

/// The kernels of the level in use; all null where it has none.
const AttendKernels& attend_kernels();
/// The line of a format, or null.
const KeyKernel* key_kernel(const AttendKernels& kernels, std::string_view format);
const ValueKernel* value_kernel(const AttendKernels& kernels, std::string_view format);
const TilePage* tile_page(const AttendKernels& kernels, std::string_view format);

/// Attention of one row from partial results over parts of the keys, rows of d + 2 `stride` apart. The order
/// is fixed.
void merge_attention(const float* partial, int64_t parts, int64_t stride, int64_t d, float* out);

}  // namespace nibble
