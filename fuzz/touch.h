#pragma once

#include <algorithm>

#include "containers/tensor_file.h"
#include "formats/format.h"
#include "target.h"

namespace nibble::fuzz {

/// Reads the first and last weights and bytes of every tensor: views that leave the file are found here.
inline void touch(const TensorListing& listing) {
  volatile unsigned sink = 0;
  for (const StoredTensor& t : listing.tensors) {
    if (!t.raw.bytes.empty()) sink = sink + static_cast<unsigned>(t.raw.bytes.front() ^ t.raw.bytes.back());
    if (!t.has_weights()) continue;
    const int64_t n = t.shape.elements();
    const int64_t take = std::min<int64_t>(n, 300);
    float out[300];
    decode_range(t.weights(), 0, take, out);
    decode_range(t.weights(), n - take, take, out);
  }
}

}  // namespace nibble::fuzz
