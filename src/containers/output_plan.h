#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "containers/gguf_value.h"
#include "formats/format.h"

namespace nibble {

/// A tensor that is going to be written.
struct PlannedTensor {
  std::string name;                ///< as the file will spell it
  Shape shape;                     ///< slowest dimension first
  const Format* format = nullptr;  ///< null: plain elements of `dtype`
  DType dtype = DType::u8;         ///< of plain elements
};

/// Stands in a header for as many characters that are known only when all else is written.
inline constexpr std::string_view text_to_come = "to be written when all is known.";

/// Where every byte of an output will stand, known before the first is written.
struct OutputPlan {
  struct Place {
    size_t file = 0;
    uint64_t offset = 0;  ///< in that file
    uint64_t bytes = 0;
  };
  struct File {
    std::string path;
    std::vector<std::byte> header;
    uint64_t size = 0;  ///< of the finished file, header included
  };
  struct SmallFile {
    std::string path;
    std::string text;
  };
  std::vector<File> files;
  std::vector<std::vector<Place>> places;  ///< [tensor][plane], in the order of the planned tensors
  std::vector<SmallFile> small_files;      ///< written last (an index)

  uint64_t total_bytes() const noexcept;
};

/// Plans a GGUF v3 file (ggml's docs/gguf.md): keys in the given order, tensors in the given order, each
/// aligned to `general.alignment` (32 where absent). Throws Error{unsupported} naming the tensor for formats
/// without a ggml type number, shapes that do not fit, more than 4 dimensions, names over 63 bytes;
/// Error{bad_input} for names or keys given twice.
OutputPlan plan_gguf(const std::string& path, std::span<const PlannedTensor> tensors,
                     std::span<const GgufKv> kv);

/// Plans safetensors. A `path` that ends in .safetensors is one file; any other is a folder, which gets
/// model.safetensors, or, where that would exceed `shard_size` bytes of tensors (0: no limit),
/// model-00001-of-0000N.safetensors and model.safetensors.index.json. Quantized tensors become one stored
/// tensor a plane (containers/hf_quant.h). Within a file wider types stand first, so that elements are
/// aligned; names keep their order otherwise. Throws Error{bad_input} for a name given twice.
OutputPlan plan_safetensors(const std::string& path, std::span<const PlannedTensor> tensors,
                            const std::map<std::string, std::string>& metadata = {{"format", "pt"}},
                            uint64_t shard_size = 0);

/// What a planned tensor's bytes are made of: the planes of its format, or one plane of plain elements.
std::vector<PlaneInfo> planned_planes(const PlannedTensor& tensor);

}  // namespace nibble
