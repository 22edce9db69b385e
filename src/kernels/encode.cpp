#include "kernels/encode.h"

namespace nibble {
namespace {

const EncodeRows& encode_rows(IsaLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case IsaLevel::avx2:
      return encode_avx2;
    case IsaLevel::avx512:
    case IsaLevel::amx:
      return encode_avx512;
#elif defined(__aarch64__)
    case IsaLevel::neon:
      return encode_neon;
#endif
    default:
      return encode_scalar;
  }
}

const EncodeRow* row_of(const EncodeRows& rows, const Format& format) {
  for (int i = 0; i < rows.count; ++i) {
    if (format.info().name == rows.rows[i].format) return rows.rows + i;
  }
  return nullptr;
}

const EncodeRow* encode_row(const Format& format, IsaLevel level) {
#if defined(__x86_64__)
  if ((level == IsaLevel::avx512 || level == IsaLevel::amx) && isa_has_vnni()) {
    const EncodeRow* row = row_of(encode_vnni, format);
    if (row != nullptr && row->run != nullptr) return row;
  }
#endif
  return row_of(encode_rows(level), format);
}

}  // namespace

EncodeBlocks block_encoder(const Format& format, IsaLevel level) {
  const EncodeRow* row = encode_row(format, level);
  return row != nullptr ? row->run : nullptr;
}

BlockFitter::BlockFitter(const Format& format, IsaLevel level) : format_(&format) {
  const EncodeRow* row = encode_row(format, level);
  fit_ = row != nullptr ? row->fit : nullptr;
}

}  // namespace nibble
