#pragma once

#include <optional>
#include <vector>

#include "formats/format.h"
#include "formats/packing.h"

namespace nibble {

/// A tensor whose weights are whole numbers times a scale: weight = (code - zero) * scale, where `group`
/// neighbours in a row share scale and zero. What products of whole numbers need, and what decode gives.
class WholeCodes {
 public:
  /// Nothing where the format has another grid or real zero points: all but int2 ... int8, q4_0 and q8_0.
  /// The bytes that `t` shows must outlive this, and be as many as its format asks for.
  static std::optional<WholeCodes> of(const QTensor& t);

  /// Weights that share a scale; a row at most.
  int64_t group() const noexcept { return group_; }
  bool has_zeros() const noexcept { return zeros_; }

  /// One row of the tensor seen as a matrix: cols codes and for each group a scale and a zero, both codes and
  /// zeros in [-128, 127]. Safe from any thread.
  void read_row(int64_t row, int8_t* codes, float* scales, int32_t* zeros) const {
    read_codes(row, codes, zeros);
    read_scales(row, scales);
  }
  /// The two halves of it; the first needs no floating point.
  void read_codes(int64_t row, int8_t* codes, int32_t* zeros) const;
  void read_scales(int64_t row, float* scales) const;

 private:
  enum class Kind : uint8_t { affine, q4_0, q8_0 };

  Kind kind_ = Kind::affine;
  int64_t cols_ = 0, group_ = 0;
  int bits_ = 8;
  bool zeros_ = false;
  ParamType scales_ = ParamType::f16;
  std::vector<PlaneInfo> info_;
  std::vector<std::byte*> planes_;
};

}  // namespace nibble
