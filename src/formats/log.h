#pragma once

#include "formats/format.h"

namespace nibble {

/// log3 ... log8: logarithmic levels (Miyashita, Lee, Murmann 2016, arXiv 1603.01025), with a zero.
///
/// A code of B bits is a sign (the high bit) and k in [0, K], K = 2^(B-1) - 1. k = 0 is zero, else
///     |w| = scale * ratio^(K - k).
/// So the levels lie dense near zero; with ratio 1/2 products are shifts.
///
/// Word: logB[:tensor|channel|gN][:pow2|sqrt2][:f16|f32|bf16].
///  - `tensor`, `channel` (default), `gN`: which weights share a scale; `f16` (default), `f32`, `bf16`: its
///  type.
///  - ratio: 1/2 with `pow2`, 1/sqrt(2) with `sqrt2` (the paper's two bases); otherwise one number for the
///  tensor
///    that minimizes the squared error, found from a histogram of all weights over their block's largest
///    magnitude, to the square of which a block counts.
/// Scales minimize the (importance-weighted) squared error, and weights go to the nearest level (the paper
/// rounds the logarithm instead, which costs up to 6 % of a level's size).
///
/// Planes: `codes` u8 [rows, bytes per row], blocks dense from a byte border on, little end first; `scale`
/// [rows, blocks per row], or [1] for the whole tensor; `ratio` f32 [1] unless the word fixes it.
struct LogFamily {
  static constexpr std::string_view help =
      "log3..log8[:tensor|channel|gN][:pow2|sqrt2][:f16|f32|bf16] (channel, chosen ratio, f16 scales)";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

}  // namespace nibble
