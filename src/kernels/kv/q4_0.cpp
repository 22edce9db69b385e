// Four bits, 18 bytes for 32 numbers: x = scale (code - 8). After the scales, keys: [4][columns / 8][16 keys]
// [4], a block of w columns having w / 8 of these fours, whose low halves are its columns below w / 2.
// Values: [32][columns], low halves for even positions, high ones for odd.
#include "kernels/kv/blocks.h"
#include "kernels/kv_format.h"

namespace nibble {
namespace {

int64_t page_bytes(int64_t d) { return kv_scale_bytes(d) + kv_page / 2 * kv_columns(d); }

/// Where a code stands: a byte and the bits before it.
struct Place {
  int64_t byte;
  int shift;
};
struct KeyAt {
  static Place of(int64_t slot, int64_t c, int64_t d) {
    const int64_t b = c / kv_block, half = kv_block_width(d, b) / 2, in = c - b * kv_block, low = in % half;
    const int64_t four = slot / 16 * (kv_columns(d) / 8) + b * (kv_block / 8) + low / 4;
    return {four * 64 + slot % 16 * 4 + low % 4, in < half ? 0 : 4};
  }
};
struct ValueAt {
  static Place of(int64_t slot, int64_t c, int64_t d) {
    return {slot / 2 * kv_columns(d) + c, slot % 2 == 0 ? 0 : 4};
  }
};

template <class At>
void put(std::byte* page, int64_t slot, int64_t d, const float* x) {
  auto* scales = reinterpret_cast<uint16_t*>(page);
  auto* codes = reinterpret_cast<uint8_t*>(page + kv_scale_bytes(d));
  for (int64_t b = 0; b < kv_blocks(d); ++b) {
    const int64_t begin = b * kv_block, n = std::min(kv_block, d - begin);
    // The number of largest magnitude gets the code that has no opposite, -8.
    const float most = kv_most(x + begin, n);
    bool negative = false;
    for (int64_t c = begin; c < begin + n; ++c) negative = negative || x[c] == -most;
    uint16_t scale = kv_scale((negative ? most : -most) / 8.0f);
    const float step = f16_to_f32(scale);
    const float inverse = step != 0 ? 1.0f / step : 0.0f;
    double of_codes = 0, squares = 0;
    for (int64_t c = begin; c < begin + n; ++c) {
      const Place at = At::of(slot, c, d);
      const int whole = kv_round(x[c] * inverse, -8, 7);
      const auto code = static_cast<unsigned>(whole + 8);
      codes[at.byte] = static_cast<uint8_t>((codes[at.byte] & (0xf0u >> at.shift)) | code << at.shift);
      of_codes += static_cast<double>(x[c]) * whole;
      squares += whole * whole;
    }
    // What these codes lose least with, in squares.
    if (squares > 0) scale = kv_scale(static_cast<float>(of_codes / squares));
    scales[b * kv_page + slot] = scale;
  }
}

template <class At>
void rows(const std::byte* page, int64_t n, int64_t d, float* out) {
  const auto* scales = reinterpret_cast<const uint16_t*>(page);
  const auto* codes = reinterpret_cast<const uint8_t*>(page + kv_scale_bytes(d));
  for (int64_t slot = 0; slot < n; ++slot) {
    for (int64_t c = 0; c < d; ++c) {
      const Place at = At::of(slot, c, d);
      const int code = (codes[at.byte] >> at.shift & 15) - 8;
      out[slot * d + c] = f16_to_f32(scales[c / kv_block * kv_page + slot]) * static_cast<float>(code);
    }
  }
}

}  // namespace

extern const KvFormat kv_q4_0;
const KvFormat kv_q4_0{"q4_0", page_bytes, put<KeyAt>, put<ValueAt>, rows<KeyAt>, rows<ValueAt>, false, true};

}  // namespace nibble
