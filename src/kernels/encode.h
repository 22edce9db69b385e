#pragma once

#include "formats/format.h"
#include "kernels/cpu/encode.h"
#include "kernels/isa.h"

namespace nibble {

/// The level's function that rounds blocks of this format to the bytes that fit, round and pack give; null if
/// the format has none, and is to be rounded by those.
using EncodeBlocks = void (*)(const EncodeTask&) noexcept;
EncodeBlocks block_encoder(const Format& format, IsaLevel level);

/// Format::fit by the fastest way at a level, with the same result.
class BlockFitter {
 public:
  BlockFitter(const Format& format, IsaLevel level);
  void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
           Params& params) const {
    if (fit_ != nullptr) {
      fit_(x, importance, params.data());
    } else {
      format_->fit_with(sums_, x, importance, n, planes, params);
    }
  }

 private:
  const Format* format_;
  void (*fit_)(const float*, const float*, void*) noexcept;
  GridSums sums_;
};

}  // namespace nibble
