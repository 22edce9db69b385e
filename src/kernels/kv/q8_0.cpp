// Eight bits, 34 bytes for 32 numbers. After the scales, keys: [4][columns / 4][16 keys][4 columns]; values:
// rows. Codes are signed.
#include "kernels/kv/blocks.h"
#include "kernels/kv_format.h"

namespace nibble {
namespace {

int64_t page_bytes(int64_t d) { return kv_scale_bytes(d) + kv_page * kv_columns(d); }

struct KeyAt {
  static int64_t of(int64_t slot, int64_t c, int64_t d) {
    return (slot / 16 * (kv_columns(d) / 4) + c / 4) * 64 + slot % 16 * 4 + c % 4;
  }
};
struct ValueAt {
  static int64_t of(int64_t slot, int64_t c, int64_t d) { return slot * kv_columns(d) + c; }
};

template <class At>
void put(std::byte* page, int64_t slot, int64_t d, const float* x) {
  auto* scales = reinterpret_cast<uint16_t*>(page);
  auto* codes = reinterpret_cast<int8_t*>(page + kv_scale_bytes(d));
  for (int64_t b = 0; b < kv_blocks(d); ++b) {
    const int64_t begin = b * kv_block, n = std::min(kv_block, d - begin);
    const uint16_t scale = kv_scale(kv_most(x + begin, n) / 127.0f);
    scales[b * kv_page + slot] = scale;
    const float step = f16_to_f32(scale);
    const float inverse = step > 0 ? 1.0f / step : 0.0f;
    for (int64_t c = begin; c < begin + n; ++c)
      codes[At::of(slot, c, d)] = static_cast<int8_t>(kv_round(x[c] * inverse, -127, 127));
  }
}

template <class At>
void rows(const std::byte* page, int64_t n, int64_t d, float* out) {
  const auto* scales = reinterpret_cast<const uint16_t*>(page);
  const auto* codes = reinterpret_cast<const int8_t*>(page + kv_scale_bytes(d));
  for (int64_t slot = 0; slot < n; ++slot) {
    for (int64_t c = 0; c < d; ++c)
      out[slot * d + c] =
          f16_to_f32(scales[c / kv_block * kv_page + slot]) * static_cast<float>(codes[At::of(slot, c, d)]);
  }
}

}  // namespace

extern const KvFormat kv_q8_0;
const KvFormat kv_q8_0{"q8_0",      page_bytes,    put<KeyAt>, put<ValueAt>,
                       rows<KeyAt>, rows<ValueAt>, false,      false};

}  // namespace nibble
