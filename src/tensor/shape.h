#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace nibble {

/// Sizes of a tensor, the slowest-varying first (PyTorch's order; GGUF stores the reverse). A weight matrix
/// is [out, in]: `cols()` is the length of the rows that dot products run over. A rank-0 tensor has one
/// element.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<int64_t> dims) : dims_(std::move(dims)) {}

  size_t rank() const noexcept { return dims_.size(); }
  int64_t operator[](size_t i) const { return dims_.at(i); }
  const std::vector<int64_t>& dims() const noexcept { return dims_; }

  /// Product of all sizes. Throws Error{bad_input} on a negative size or when the product exceeds 2^62.
  int64_t elements() const;
  /// Size of the fastest-varying dimension; 1 for rank 0.
  int64_t cols() const noexcept { return dims_.empty() ? 1 : dims_.back(); }
  /// Product of all sizes but the last: the rows of the tensor seen as a matrix.
  int64_t rows() const;

  std::string to_string() const;  ///< "[32000, 4096]"
  bool operator==(const Shape&) const = default;

 private:
  std::vector<int64_t> dims_;
};

}  // namespace nibble
