// AMX: 16 x 16 tiles of sums from tiles of 16 x 32 bf16 numbers, or 16 x 64 whole ones. Everything else is
// AVX-512 with VNNI.
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

// g++ 12's tile loads do not say that they read memory: what was stored before must be told to be needed.
NIBBLE_INLINE void stores_count() noexcept { asm volatile("" : : : "memory"); }

}  // namespace
}  // namespace nibble

#include "kernels/cpu/attend.inc"
#include "kernels/cpu/tiles512.inc"

namespace nibble {
namespace {

struct TileAttention {
  static constexpr int64_t groups = 1;
  static NIBBLE_INLINE void scores(const uint16_t* k, const uint16_t* q, int64_t columns, int64_t,
                                   float* out) noexcept {
    stores_count();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t c = 0; c < columns; ++c) {
      _tile_loadd(6, q + 512 * c, 64);
      _tile_loadd(4, k + 512 * c, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, k + 512 * (columns + c), 64);
      _tile_dpbf16ps(1, 5, 6);
      _tile_loadd(4, k + 512 * (2 * columns + c), 64);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(5, k + 512 * (3 * columns + c), 64);
      _tile_dpbf16ps(3, 5, 6);
    }
    _tile_stored(0, out, 64);
    _tile_stored(1, out + 256, 64);
    _tile_stored(2, out + 512, 64);
    _tile_stored(3, out + 768, 64);
  }
  static NIBBLE_INLINE void add_values(float* sum, const uint16_t* p, const uint16_t* v,
                                       int64_t tiles) noexcept {
    stores_count();
    _tile_loadd(4, p, 64);
    _tile_loadd(5, p + 512, 64);
    for (int64_t c = 0; c < tiles; c += 2) {
      float* out = sum + 256 * c;
      const uint16_t* from = v + 1024 * c;
      _tile_loadd(0, out, 64);
      _tile_loadd(1, out + 256, 64);
      _tile_loadd(6, from, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, from + 1024, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(6, from + 512, 64);
      _tile_dpbf16ps(0, 5, 6);
      _tile_loadd(7, from + 1536, 64);
      _tile_dpbf16ps(1, 5, 7);
      _tile_stored(0, out, 64);
      _tile_stored(1, out + 256, 64);
    }
  }
};

void attend(const AttendTask& t, LoadTiles keys, LoadTiles values) noexcept {
  const Tiles configured;
  AttendBuffers buffers;
  attend_pages<TileAttention>(t, keys, values, buffers);
}

// Sums in tiles 0 to 3 (two groups of tokens by two of rows), tokens in 4 and 5, weights in 6 and 7.
struct TileUnit {
  template <int rows, int tokens>
  static NIBBLE_INLINE void start(bool first, const float* sums) noexcept {
    if (first) {
      _tile_zero(0);
      if constexpr (rows > 1) _tile_zero(1);
      if constexpr (tokens > 1) _tile_zero(2);
      if constexpr (rows > 1 && tokens > 1) _tile_zero(3);
    } else {
      stores_count();
      _tile_loadd(0, sums, 64);
      if constexpr (rows > 1) _tile_loadd(1, sums + 256, 64);
      if constexpr (tokens > 1) _tile_loadd(2, sums + 512, 64);
      if constexpr (rows > 1 && tokens > 1) _tile_loadd(3, sums + 768, 64);
    }
  }
  template <int rows, int tokens>
  static NIBBLE_INLINE void add(const uint16_t* w0, const uint16_t* w1, const uint16_t* x0,
                                const uint16_t* x1, int64_t blocks, float*) noexcept {
    stores_count();
    for (int64_t b = 0; b < 512 * blocks; b += 512) {
      _tile_loadd(4, x0 + b, 64);
      _tile_loadd(6, w0 + b, 64);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (rows > 1) {
        _tile_loadd(7, w1 + b, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (tokens > 1) {
        _tile_loadd(5, x1 + b, 64);
        _tile_dpbf16ps(2, 5, 6);
      }
      if constexpr (rows > 1 && tokens > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  template <int rows, int tokens>
  static NIBBLE_INLINE void finish(float* sums) noexcept {
    _tile_stored(0, sums, 64);
    if constexpr (rows > 1) _tile_stored(1, sums + 256, 64);
    if constexpr (tokens > 1) _tile_stored(2, sums + 512, 64);
    if constexpr (rows > 1 && tokens > 1) _tile_stored(3, sums + 768, 64);
    stores_count();
  }
};

}  // namespace
}  // namespace nibble

#include "kernels/cpu/gram512.inc"
#include "kernels/cpu/int8_tiles.inc"
#include "kernels/cpu/split512.inc"

namespace nibble {
namespace {

void tiles(const TileTask& t) noexcept {
  const Tiles configured;
  multiply_tiles<TileUnit>(t);
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

extern const TileKernel amx_tiles = {&tiles, "tiles-amx", 6, 20};
extern const GramKernel amx_gram = {&pack_gram, &gram};
extern const SplitKernel amx_split = {&pack_split, &split_sums};
extern const PeakKernel amx_peak = {&peak, "bf16 tiles"};

void (*const amx_attend_tiles)(const AttendTask&, LoadTiles, LoadTiles) noexcept = &attend;

}  // namespace nibble

#endif
