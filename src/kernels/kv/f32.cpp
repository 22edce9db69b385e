// Rows of f32, keys and values alike.
#include <algorithm>
#include <cstring>

#include "kernels/kv_format.h"

namespace nibble {
namespace {

int64_t page_bytes(int64_t d) { return kv_page * d * 4; }

void put(std::byte* page, int64_t slot, int64_t d, const float* x) {
  std::memcpy(page + slot * d * 4, x, static_cast<size_t>(d) * 4);
}

void rows(const std::byte* page, int64_t n, int64_t d, float* out) {
  std::memcpy(out, page, static_cast<size_t>(n * d) * 4);
}

}  // namespace

extern const KvFormat kv_f32;
const KvFormat kv_f32{"f32", page_bytes, put, put, rows, rows, true, false};

}  // namespace nibble
