#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "containers/tensor_file.h"
#include "formats/format.h"

namespace nibble {

class Tokenizer;     // tokenizers/tokenizer.h
class WeightChange;  // model/weight_change.h

/// What a checkpoint was read from.
enum class SourceKind : uint8_t { huggingface, gguf };

/// One tensor of a model in canonical terms: GGUF's name, GGUF's order of rows. Experts are one tensor
/// [experts, out, in] even where the files hold one for each.
struct CanonicalTensor {
  std::string name;  ///< "blk.0.attn_q.weight"
  std::string hf;    ///< as the usual Hugging Face class writes it, {e} for the expert; empty: not there
  Role role = Role::norm;
  Rewrite rewrite = Rewrite::none;          ///< between the two ecosystems, whichever the source is
  int64_t layer = -1;                       ///< -1: outside the layers
  int64_t experts = 0;                      ///< slices of a stack; 0: not one
  Shape shape;                              ///< canonical
  FormatSpec format;                        ///< of the stored bytes
  size_t source_bytes = 0;                  ///< stored, all slices together
  std::vector<const StoredTensor*> stored;  ///< one, or one per expert
  /// Factors on all weights, one or one per expert, that stand in a tensor beside it (NVFP4 in GGUF). Applied
  /// by read_rows, not by load.
  std::vector<float> scale;
  bool made = false;  ///< a second use of another tensor's weights, which the files do not hold by this name
};

/// A tensor of the file that the model does not use, and why.
struct UnclaimedTensor {
  std::string name;
  std::string reason;
  size_t bytes = 0;
  bool harmless = true;  ///< known not to take part (buffers, heads of other tasks); false: nobody knows
};

/// A model on disk, opened and checked: architecture, hyper-parameters, every tensor the architecture needs
/// with the shape it must have. Weights stay in the mapped files; nothing is read before it is asked for.
/// Cheap to copy; all methods are const and may be called from several threads at once.
class Checkpoint {
 public:
  const Arch& arch() const noexcept;
  const Hparams& hparams() const noexcept;
  SourceKind source() const noexcept;
  /// What was opened: a folder or a file.
  const std::string& path() const noexcept;
  /// Folder that holds config.json and the tokenizer; empty for GGUF.
  const std::string& folder() const noexcept;
  /// config.json (flattened, nested text_config included) or the GGUF metadata.
  const Meta& meta() const noexcept;
  const TensorFile& file() const noexcept;
  /// What is done to the weights as they are read; null: nothing.
  const WeightChange* change() const noexcept;
  /// Whether that is anything to this tensor.
  bool changes(const CanonicalTensor& t) const;

  /// In the order of the forward pass: embeddings, layers, output.
  std::span<const CanonicalTensor> tensors() const noexcept;
  const CanonicalTensor* find(std::string_view canonical_name) const;
  /// Throws Error{bad_input} if the model has no such tensor.
  const CanonicalTensor& at(std::string_view canonical_name) const;
  std::span<const UnclaimedTensor> unclaimed() const noexcept;

  /// Whether the stored bytes are the canonical tensor as it is, so that load() copies nothing.
  bool is_view(const CanonicalTensor& t) const;
  /// The canonical tensor in its stored format where that is possible: the mapped bytes, or a copy with rows
  /// put in order or experts stacked; else (a transposition, + 1, rows that share parameters) decoded to f32.
  /// CanonicalTensor::scale is left to the caller.
  QTensor load(const CanonicalTensor& t) const;
  /// Decodes rows [row, row + n) of the canonical tensor seen as a matrix [rows(), cols()] into n * cols()
  /// floats. Needs no memory beyond one row (a transposed one reads its window of every stored row).
  void read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const;
  /// Lets go of the memory pages of the tensor: they will be read again from disk if needed.
  void release(const CanonicalTensor& t) const noexcept;

  /// Whether open_tokenizer(path()) can find one.
  bool has_tokenizer() const;
  Tokenizer tokenizer() const;

  struct Data;
  explicit Checkpoint(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  const Data& data() const noexcept { return *data_; }

 private:
  std::shared_ptr<const Data> data_;
};

/// Opens a model: a Hugging Face folder (safetensors or torch .bin, single or sharded), a safetensors file
/// with config.json beside it, or a GGUF file (sharded too). Throws Error{io, bad_input, unsupported}:
/// unknown architecture, absent or absurd hyper-parameters, missing tensors (all are listed), wrong shapes.
Checkpoint open_checkpoint(const std::string& path);

/// The tokenizer at `path`: a model as above, a vocabulary-only GGUF file, or a bare tokenizer.model,
/// tokenizer.json or vocabulary file. Throws Error{bad_input} if there is none.
Tokenizer open_tokenizer(const std::string& path);

/// Decodes rows of a stored tensor; the unit that every row rewrite is made of.
void decode_rows(const QTensor& t, int64_t row, int64_t n, float* out);

}  // namespace nibble
