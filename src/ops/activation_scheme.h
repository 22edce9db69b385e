#pragma once

#include <string>
#include <string_view>

#include "kernels/int8_matmul.h"

namespace nibble {

/// How the inputs of a model's matrices are rounded, as people write it:
/// `intB[:token|tensor|static|adaptive][:asym][:outliers=T]`, in any order.
///  - `token` (default): each token's range by itself, at run time; `tensor`: one for all tokens that run
///    together; `static`: calibrated ranges that come with the model; `adaptive`: a running range that
///    follows what the model sees (a tenth of the way to the range of each batch), so results depend on
///    everything that ran before.
///  - `asym`: the range need not have its middle at zero.
///  - `outliers=T`: what is larger than T stays a float (LLM.int8(); usually 6).
/// `float` rounds nothing. `integer-only` is 8 bits for each token, and everything else in whole numbers too
/// (model/rewrites/integer_only.h).
struct ActivationScheme {
  enum class Range : uint8_t { token, tensor, fixed, adaptive };

  int bits = 8;  ///< 0: floats
  Range range = Range::token;
  bool asymmetric = false;
  bool integer_only = false;
  float outliers = std::numeric_limits<float>::infinity();

  /// Throws Error{usage} for a word that is none.
  static ActivationScheme parse(std::string_view word);
  std::string to_string() const;
  /// The grid, without the ends of a fixed or adaptive range.
  ActivationGrid grid() const;
};

}  // namespace nibble
