// AMX: 16 x 16 tiles of sums from tiles of 16 x 32 bf16 numbers. Everything else is AVX-512 with VNNI.
#include "kernels/attend.h"
#include "kernels/cpu/kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/cpu/tile512.inc"

namespace nibble {

namespace {

struct TileConfig {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Configures this thread's tiles for as long as it lives: threads of any origin may come here.
class Tiles {
 public:
  Tiles() noexcept {
    alignas(64) TileConfig config;
    for (int i = 0; i < 8; ++i) {
      config.bytes_per_row[i] = 64;
      config.rows[i] = 16;
    }
    // g++ 12 believes that the instruction reads 8 bytes only and would leave out the other stores.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace nibble

#include "kernels/cpu/attend.inc"

namespace nibble {
namespace {

NIBBLE_INLINE void write_tile(const float* sums, float* y, int64_t y_stride, int64_t rows,
                              int64_t tokens) noexcept {
  __m512i v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = _mm512_load_si512(sums + 16 * i);
  store_tile(v, y, y_stride, rows, tokens);
}

// 32 rows with 32 tokens: tiles 0-3 hold sums, 4 and 5 rows, 6 and 7 tokens.
NIBBLE_INLINE void four(const uint16_t* w, const uint16_t* x, int64_t blocks, float* sums) noexcept {
  const uint16_t *w1 = w + 512 * blocks, *x1 = x + 512 * blocks;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t b = 0; b < blocks; ++b) {
    _tile_loadd(4, w + 512 * b, 64);
    _tile_loadd(6, x + 512 * b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, x1 + 512 * b, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, w1 + 512 * b, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

// 16 rows, or 16 tokens, or both.
NIBBLE_INLINE void one(const uint16_t* w, const uint16_t* x, int64_t blocks, float* sums) noexcept {
  _tile_zero(0);
  for (int64_t b = 0; b < blocks; ++b) {
    _tile_loadd(4, w + 512 * b, 64);
    _tile_loadd(6, x + 512 * b, 64);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, sums, 64);
}

void tiles(const TileTask& t) noexcept {
  const Tiles configured;
  alignas(64) float sums[1024];
  const auto at = [&](int64_t token, int64_t row, const float* from) __attribute__((always_inline)) {
    write_tile(from, t.y + token * t.y_stride + row, t.y_stride, t.n - row, t.m - token);
  };
  const int64_t step = 32 * t.blocks;  // of one row or token
  for (int64_t token = 0; token < t.m; token += 32) {
    const bool tokens = t.m - token > 16;
    for (int64_t row = 0; row < t.n; row += 32) {
      const bool rows = t.n - row > 16;
      if (rows && tokens) {
        four(t.w + row * step, t.x + token * step, t.blocks, sums);
        at(token, row, sums);
        at(token + 16, row, sums + 256);
        at(token, row + 16, sums + 512);
        at(token + 16, row + 16, sums + 768);
        continue;
      }
      one(t.w + row * step, t.x + token * step, t.blocks, sums);
      at(token, row, sums);
      if (rows) {
        one(t.w + (row + 16) * step, t.x + token * step, t.blocks, sums);
        at(token, row + 16, sums);
      }
      if (tokens) {
        one(t.w + row * step, t.x + (token + 16) * step, t.blocks, sums);
        at(token + 16, row, sums);
      }
    }
  }
}

// Tokens of group g meet the decoded rows in tile g.
template <int groups>
NIBBLE_INLINE void meet(const uint16_t* w, const uint16_t* x, int64_t group, int64_t blocks) noexcept {
  for (int64_t b = 0; b < blocks; ++b) {
    _tile_loadd(4, w + 512 * b, 64);
    _tile_loadd(6, x + 512 * b, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (groups > 1) {
      _tile_loadd(7, x + group + 512 * b, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (groups > 2) {
      _tile_loadd(6, x + 2 * group + 512 * b, 64);
      _tile_dpbf16ps(2, 4, 6);
    }
    if constexpr (groups > 3) {
      _tile_loadd(7, x + 3 * group + 512 * b, 64);
      _tile_dpbf16ps(3, 4, 7);
    }
  }
}

template <int groups>
NIBBLE_INLINE void few_groups(const FewTilesTask& t) noexcept {
  alignas(64) uint16_t panel[4096];
  alignas(64) float sums[1024];
  const int64_t blocks = (t.k + 31) / 32, units = (t.k + unit_weights - 1) / unit_weights;
  for (int64_t row = 0; row < t.n; row += 16) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const int64_t n = t.n - row < 16 ? t.n - row : 16;
    for (int64_t u = 0; u < units; ++u) {
      t.panel({t.planes, t.first + row, n, t.k, u, 1, panel});
      meet<groups>(panel, t.x + 4096 * u, 512 * blocks, u + 1 < units ? 8 : blocks - 8 * u);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
    for (int64_t g = 0; g < groups; ++g)
      write_tile(sums + 256 * g, t.y + 16 * g * t.y_stride + row, t.y_stride, n, t.m - 16 * g);
  }
}

void few_tiles(const FewTilesTask& t) noexcept {
  const Tiles configured;
  switch ((t.m + 15) / 16) {
    case 1:
      return few_groups<1>(t);
    case 2:
      return few_groups<2>(t);
    case 3:
      return few_groups<3>(t);
    default:
      return few_groups<4>(t);
  }
}

int64_t peak(int64_t rounds) noexcept {
  const Tiles configured;
  for (int64_t r = 0; r < rounds / 64; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return rounds / 64 * 4 * (16 * 16 * 32);
}

}  // namespace

extern const TileKernel amx_tiles = {&tiles, &few_tiles, "tiles-amx", 5};
extern const PeakKernel amx_peak = {&peak, "bf16 tiles"};

void (*const amx_attend_tiles)(const AttendTask&) noexcept = &attend;

}  // namespace nibble

#endif
