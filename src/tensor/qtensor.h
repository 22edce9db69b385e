#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/format_spec.h"
#include "tensor/shape.h"

namespace nibble {

/// One array of bytes of a quantized tensor: codes, scales, zero points, a codebook. A view that may own what
/// it shows.
struct Plane {
  std::string name;  ///< as the format's PlaneInfo names it; "" for the only plane of block formats
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  ///< keeps `bytes` alive; null where somebody else does
};

/// A tensor in any format, float types included: a shape, and planes whose layout the format defines
/// (formats/format.h). Cheap to copy: the bytes are shared.
struct QTensor {
  FormatSpec format;  ///< canonical spelling
  Shape shape;
  std::vector<Plane> planes;

  size_t bytes() const noexcept {
    size_t n = 0;
    for (const Plane& p : planes) n += p.bytes.size();
    return n;
  }
};

}  // namespace nibble
