#pragma once

#include "formats/format.h"

namespace nibble {

/// fp8_e4m3 and fp8_e5m2: 8-bit floats of the Open Compute Project (OFP8 revision 1.0; Micikevicius et al.
/// 2022, arXiv 2209.05433), nearest with ties to even, saturating at 448 and 57344.
///
/// Word: fp8_e4m3|fp8_e5m2[:tensor|channel|gN]; also written e4m3 and e5m2.
///  - alone: a plain cast. One plane without a name, of safetensors type F8_E4M3 or F8_E5M2, shape as it is.
///  - with a granularity: w = float8 * scale, scale = max|x| / 448 (or 57344), as compressed-tensors and
///    TensorRT have it. Planes `codes` F8_... and `scale` f32 [rows, blocks per row], or [1] for the tensor.
struct Fp8Family {
  static constexpr std::string_view help = "fp8_e4m3|fp8_e5m2[:tensor|channel|gN] (without: a plain cast)";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

}  // namespace nibble
