#pragma once

#include "formats/format.h"

namespace nibble {

/// int2 ... int8: affine integers, w = (q - z) * s.
///
/// Word: intB[:tensor|channel|gN][:asym[:zf]|:narrow][:f16|f32|bf16][:minmax], in any order.
///  - `gN` (default g128), `channel`, `tensor`: which weights share s and z.
///  - symmetric (default, also `sym`): z = 2^(B-1) stands for zero and is not stored; codes reach from
///    -2^(B-1) to 2^(B-1) - 1, with `narrow` from -(2^(B-1) - 1) only. Unless `narrow` or `minmax`, s may be
///    negative, which turns the longer side of the range to where the weights need it.
///  - `asym`: an integer z in [0, 2^B - 1]; with `zf` a real one in the type of the scales (as HQQ has it).
///  - `f16` (default), `f32`, `bf16`: the type of the scales.
///  - parameters minimize the squared error, weighted by the importance, or (below 8 bits) by plain_weights.h
///  where none is
///    given; with `minmax` they follow from the ends of
///    the data as in the textbook (Jacob et al. 2018, arXiv 1712.05877): s = max|x| / (2^(B-1) - 1), or
///    s = (max(x, 0) - min(x, 0)) / (2^B - 1), z = round(-min / s).
///
/// Planes: `codes` u8 [rows, bytes per row], blocks dense from a byte border on, little end first, unsigned
/// (symmetric ones with 2^(B-1) added); symmetric int8 is i8 without offset. `scale` [rows, blocks per row],
/// or [1] for the whole tensor. `zero` likewise, only with `asym`: u8, or the type of the scales with `zf`.
struct AffineFamily {
  static constexpr std::string_view help =
      "int2..int8[:tensor|channel|gN][:asym[:zf]|:narrow][:f16|f32|bf16][:minmax] (g128, symmetric, f16 "
      "scales)";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

}  // namespace nibble
