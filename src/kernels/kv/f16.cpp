// Keys: [4][columns][16 keys], so that 16 keys stand side by side. Values: rows. Columns are padded to a
// multiple of 8.
#include "base/half.h"
#include "kernels/kv/blocks.h"
#include "kernels/kv_format.h"
#include "kernels/widen.h"

namespace nibble {
namespace {

int64_t page_bytes(int64_t d) { return kv_page * kv_columns(d) * 2; }

uint16_t* half_of(std::byte* page) { return reinterpret_cast<uint16_t*>(page); }
const uint16_t* half_of(const std::byte* page) { return reinterpret_cast<const uint16_t*>(page); }

void put_key(std::byte* page, int64_t slot, int64_t d, const float* x) {
  uint16_t* at = half_of(page) + slot / 16 * 16 * kv_columns(d) + slot % 16;
  // Side by side first, which vectors can do.
  constexpr int64_t piece = 64;
  uint16_t half[piece];
  for (int64_t begin = 0; begin < d; begin += piece) {
    const int64_t n = d - begin < piece ? d - begin : piece;
    narrow_f16(x + begin, half, n);
    for (int64_t c = 0; c < n; ++c) at[16 * (begin + c)] = half[c];
  }
}

void put_value(std::byte* page, int64_t slot, int64_t d, const float* x) {
  narrow_f16(x, half_of(page) + slot * kv_columns(d), d);
}

void keys(const std::byte* page, int64_t n, int64_t d, float* out) {
  for (int64_t slot = 0; slot < n; ++slot) {
    const uint16_t* at = half_of(page) + slot / 16 * 16 * kv_columns(d) + slot % 16;
    for (int64_t c = 0; c < d; ++c) out[slot * d + c] = f16_to_f32(at[16 * c]);
  }
}

void values(const std::byte* page, int64_t n, int64_t d, float* out) {
  for (int64_t slot = 0; slot < n; ++slot) {
    const uint16_t* at = half_of(page) + slot * kv_columns(d);
    for (int64_t c = 0; c < d; ++c) out[slot * d + c] = f16_to_f32(at[c]);
  }
}

}  // namespace

extern const KvFormat kv_f16;
const KvFormat kv_f16{"f16", page_bytes, put_key, put_value, keys, values, false, false, 65520.0f};

}  // namespace nibble
