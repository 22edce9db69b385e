#include "kernels/attend.h"

#include <cmath>
#include <cstring>
#include <string_view>

#include "kernels/levels.h"

namespace nibble {

const AttendKernels& attend_kernels() { return level_kernels().attend; }

const KeyKernel* key_kernel(const AttendKernels& kernels, std::string_view format) {
  for (int i = 0; i < kernels.key_count; ++i) {
    if (format == kernels.keys[i].format) return kernels.keys + i;
  }
  return nullptr;
}

const ValueKernel* value_kernel(const AttendKernels& kernels, std::string_view format) {
  for (int i = 0; i < kernels.value_count; ++i) {
    if (format == kernels.values[i].format) return kernels.values + i;
  }
  return nullptr;
}

const TilePage* tile_page(const AttendKernels& kernels, std::string_view format) {
  for (int i = 0; i < kernels.tile_page_count; ++i) {
    if (format == kernels.tile_pages[i].format) return kernels.tile_pages + i;
  }
  return nullptr;
}

void merge_attention(const float* partial, int64_t parts, int64_t stride, int64_t d, float* out) {
  float most = partial[d + 1];
  for (int64_t i = 1; i < parts; ++i) most = std::fmax(most, partial[i * stride + d + 1]);
  float total = 0;
  for (int64_t c = 0; c < d; ++c) out[c] = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const float* part = partial + i * stride;
    const float f = std::exp2(part[d + 1] - most);
    total += f * part[d];
    for (int64_t c = 0; c < d; ++c) out[c] += f * part[c];
  }
  for (int64_t c = 0; c < d; ++c) out[c] /= total;
}

}  // namespace nibble
