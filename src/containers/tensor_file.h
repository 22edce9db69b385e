#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/meta.h"
#include "containers/gguf_value.h"
#include "tensor/dtype.h"
#include "tensor/qtensor.h"

namespace nibble {

/// One tensor of a file, whatever the kind of file. The views stay valid as long as a copy of the
/// StoredTensor, of its QTensor or the TensorFile lives.
struct StoredTensor {
  std::string name;            ///< as the file spells it
  std::string type;            ///< as the file spells it: "BF16", "Q4_K"; a format word for assembled tensors
  Shape shape;                 ///< slowest dimension first
  std::optional<DType> dtype;  ///< plain element type; nothing for block formats and unknown types
  QTensor view;             ///< for formats nibble can decode; without planes otherwise (integers, f64, ...)
  Plane raw;                ///< all bytes as stored; empty for tensors assembled of several stored ones
  std::string unsupported;  ///< why nibble cannot read the tensor; empty if it can
  std::string file;         ///< path of the file that holds it
  uint64_t offset = 0;      ///< of its first byte in that file

  bool has_weights() const noexcept { return !view.planes.empty(); }
  /// `view`. Throws Error{unsupported} naming file, tensor and type when it has no planes.
  const QTensor& weights() const;
  size_t bytes() const noexcept { return raw.bytes.empty() ? view.bytes() : raw.bytes.size(); }
};

/// What a parser finds in the bytes of one file.
struct TensorListing {
  std::vector<StoredTensor> tensors;  ///< in file order
  Meta metadata;
  std::vector<GgufKv> gguf;  ///< typed metadata of GGUF files; empty for other kinds
};

/// A checkpoint, opened: one file, or several that belong together.
class TensorFile {
 public:
  TensorFile(std::string kind, std::string path, std::vector<MappedFile> files, TensorListing listing);

  /// "safetensors", "gguf" or "torch".
  const std::string& kind() const noexcept { return kind_; }
  /// What was opened: a file or a folder.
  const std::string& path() const noexcept { return path_; }
  const std::vector<StoredTensor>& tensors() const noexcept { return listing_.tensors; }
  const StoredTensor* find(std::string_view name) const;
  /// Throws Error{bad_input} naming the file if there is no such tensor.
  const StoredTensor& at(std::string_view name) const;
  /// Of a GGUF file its keys; of a safetensors file its `__metadata__`.
  const Meta& metadata() const noexcept { return listing_.metadata; }
  const std::vector<GgufKv>& gguf() const noexcept { return listing_.gguf; }
  std::vector<std::string> files() const;
  /// The same files as they lie in memory.
  std::span<const MappedFile> mapped() const noexcept { return files_; }

  /// Lets go of the memory pages behind these bytes: they will be read again from disk if needed.
  void release(std::span<const std::byte> bytes) const noexcept;
  void release(const StoredTensor& tensor) const noexcept;

 private:
  std::string kind_, path_;
  std::vector<MappedFile> files_;
  TensorListing listing_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

/// Opens a checkpoint. A file's kind is told by its first bytes, never by its name; the first file of a split
/// GGUF opens all of them. A folder is a Hugging Face folder: model.safetensors,
/// model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json, looked for in this order.
/// Throws Error{io, bad_input, unsupported} with file name and offset.
TensorFile open_tensor_file(const std::string& path);

}  // namespace nibble
