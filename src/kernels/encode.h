#pragma once

#include "formats/format.h"
#include "kernels/cpu/encode.h"
#include "kernels/isa.h"

namespace nibble {

/// The level's function that rounds blocks of this format, many side by side, to the bytes that fit, round
/// and pack give one by one; null if the format has none, and is to be rounded by those.
using EncodeBlocks = void (*)(const EncodeTask&) noexcept;
EncodeBlocks block_encoder(const Format& format, IsaLevel level);

}  // namespace nibble
