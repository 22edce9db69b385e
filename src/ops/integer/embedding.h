#pragma once

#include <optional>

#include "formats/whole_codes.h"
#include "ops/op.h"

namespace nibble {

/// A table whose rows are looked up as whole numbers.
struct IntegerTable {
  std::string name;
  int64_t rows = 0, cols = 0;
  std::shared_ptr<const Weight> weight;  ///< holds the bytes that `codes` shows
  /// Codes as they stand in the file, times the scales below; or, where the format is none of whole codes,
  /// `values`: every row as mantissas of 15 bits.
  std::optional<WholeCodes> codes;
  std::vector<int32_t> scales;  ///< [rows][cols / group], 22 bits
  std::vector<int16_t> values;
  std::vector<int32_t> exponents;  ///< by row
};

/// embedding_op in whole numbers. Attributes: IntegerEmbedding. Throws Error{bad_input} for a token or
/// position outside of its table.
extern const Op integer_embedding_op;

struct IntegerEmbedding {
  /// As embedding_op's weights; the scale of embeddings is in the first one's scales.
  std::shared_ptr<const IntegerTable> tokens, positions, types;
  int64_t position_offset = 0;
};

}  // namespace nibble
