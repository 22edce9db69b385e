#pragma once

#include "formats/format.h"

namespace nibble {

/// kmeansN: weight sharing (Han, Mao, Dally 2015, Deep Compression, arXiv 1510.00149). Every weight is one of
/// N shared values, chosen for the least (importance-weighted) squared error: 1-D k-means.
///
/// Word: kmeansN[:tensor|channel|gM][:f16|f32|bf16], N = 2 ... 256. `tensor` (default), `channel` or `gM`:
/// which weights share a codebook; `f16` (default), `f32`, `bf16`: its type. w = codebook[code].
///
/// A codebook of the whole tensor comes from a histogram of fixed size (histogram.h) and knows no importance.
///
/// Planes: `codes` u8 [rows, bytes per row] of ceil(log2 N) bits, blocks dense from a byte border on, little
/// end first; codes of N and more mean N - 1. `codebook` [N], or [rows, blocks per row, N], ascending.
struct KmeansFamily {
  static constexpr std::string_view help =
      "kmeansN[:tensor|channel|gM][:f16|f32|bf16] with N = 2 ... 256 shared weights (tensor, f16)";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

}  // namespace nibble
