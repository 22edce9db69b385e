#pragma once

#include <optional>
#include <string>

#include "formats/format.h"

namespace nibble {

/// Over which weights a format shares its parameters: all of the tensor, one row (output channel), or groups
/// of N neighbours in a row. Written `tensor`, `channel`, `gN`.
struct Granularity {
  enum class Kind { tensor, channel, group };
  Kind kind = Kind::group;
  int64_t group = 128;

  /// Nothing if the option is no granularity; throws Error{usage} for a group of no or absurdly many weights.
  static std::optional<Granularity> parse(const std::string& option);
  std::string to_string() const;

  bool whole_tensor() const noexcept { return kind == Kind::tensor; }
  /// Weights per block: a group, else a row (also where the whole tensor shares its parameters).
  int64_t block(const Shape& shape) const;
  /// Empty, or why the rows cannot be cut, with choices that would fit.
  std::string misfit(const Shape& shape) const;

  /// Plane of `bits`-bit codes, every block dense from a byte border on: [rows, bytes per row].
  PlaneInfo codes(const Shape& shape, int bits, DType dtype = DType::u8) const;
  /// Plane of `count` parameters per block: [rows, blocks per row] (with a last dimension `count` if it is
  /// more than one); [count] for the whole tensor.
  PlaneInfo parameters(std::string name, const Shape& shape, DType dtype, int64_t count = 1) const;
};

}  // namespace nibble
