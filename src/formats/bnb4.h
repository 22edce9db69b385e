#pragma once

#include <span>

#include "formats/format.h"

namespace nibble {

/// nf4 and fp4: 4-bit codes into a fixed table times the largest magnitude of a flat block, as bitsandbytes
/// stores them (Dettmers et al. 2023, QLoRA, arXiv 2305.14314; bitsandbytes/functional.py).
///
/// Word: nf4|fp4[:bN][:dq]. Blocks of N neighbours (32, 64 (default), 128 ... 4096, powers of two) run over
/// the flat tensor and need not respect its rows; the last one may be short. w = table[code] * absmax.
///  - nf4: quantiles of the normal distribution; fp4: 1 sign, 2 exponent and 1 mantissa bit, over 12.
///  - `dq` (double quantization): absmax = map[code] * nested_absmax + offset, where `map` is the 8-bit
///    dynamic map (Dettmers 2015, arXiv 1511.04561), `nested_absmax` belongs to 256 blocks and `offset` is
///    the mean of all absmax. Codes are then chosen for the absmax that decode will see.
///
/// Planes: `codes` u8 [n/2 rounded up], the even weight in the high half of its byte; `absmax` [blocks] f32,
/// or u8 with `dq`, then also `nested_absmax` f32 [blocks/256 rounded up] and `offset` f32 [1].
struct Bnb4Family {
  static constexpr std::string_view help = "nf4|fp4[:bN][:dq] with N = 32, 64 ... 4096 (b64)";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

/// The 16 values of a code: bitsandbytes' `quant_map` tensor.
std::span<const float, 16> nf4_table() noexcept;
std::span<const float, 16> fp4_table() noexcept;
/// bitsandbytes' signed 8-bit dynamic map, ascending: its `nested_quant_map` tensor.
std::span<const float, 256> bnb_dynamic_map() noexcept;

}  // namespace nibble
