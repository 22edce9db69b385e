#pragma once

#include "formats/format.h"

namespace nibble {

/// f32, f16, bf16: one weight a block, no parameters; the code is the stored bit pattern.
struct FloatFamily {
  static constexpr std::string_view help = "f32 | f16 | bf16";
  static std::unique_ptr<Format> make(const FormatSpec& spec);
  static std::vector<std::string> examples();
};

}  // namespace nibble
