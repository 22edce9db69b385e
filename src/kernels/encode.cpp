#include "kernels/encode.h"

#include "kernels/levels.h"

namespace nibble {
namespace {

const EncodeRow* row_of(const EncodeRows& rows, const Format& format) {
  for (int i = 0; i < rows.count; ++i) {
    if (format.info().name == rows.rows[i].format) return rows.rows + i;
  }
  return nullptr;
}

const EncodeRow* encode_row(const Format& format, IsaLevel level) {
  const LevelKernels& kernels = level_kernels(level);
  if (kernels.encode_first != nullptr) {
    const EncodeRow* row = row_of(*kernels.encode_first, format);
    if (row != nullptr && row->run != nullptr) return row;
  }
  return row_of(*kernels.encode, format);
}

}  // namespace

EncodeBlocks block_encoder(const Format& format, IsaLevel level) {
  const EncodeRow* row = encode_row(format, level);
  return row != nullptr ? row->run : nullptr;
}

BlockFitter::BlockFitter(const Format& format, IsaLevel level) : format_(&format) {
  const EncodeRow* row = encode_row(format, level);
  fit_ = row != nullptr ? row->fit : nullptr;
  sums_ = level_kernels(level).encode->grid;
}

}  // namespace nibble
