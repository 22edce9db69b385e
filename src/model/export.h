#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "containers/gguf_value.h"
#include "containers/output_plan.h"
#include "model/checkpoint.h"

namespace nibble {

/// The ecosystem a file is written for.
enum class Target : uint8_t { gguf, huggingface };

/// One tensor of the file to be written. Where the source stacks experts and the target does not, each expert
/// is one of these.
struct ExportTensor {
  std::string name;  ///< in the target
  Shape shape;       ///< in the target's order
  const Format* format = nullptr;
  const CanonicalTensor* source = nullptr;  ///< null: a tensor made from hyper-parameters (rope factors)
  int64_t expert = -1;                      ///< slice of a stacked source
  bool fixed = false;                       ///< the target wants this float format: no recipe may change it
  std::vector<float> made;                  ///< values where `source` is null
};

/// A further file of a Hugging Face folder.
struct ExportFile {
  std::string name;
  std::string content;    ///< bytes to write, unless
  std::string copy_from;  ///< this is a file to copy
};

/// The file that stands for a model in another ecosystem, or the same one, before its tensors are quantized:
/// names, shapes, formats and all metadata are known, so its size is too. Holds a copy of the checkpoint.
class ExportPlan {
 public:
  Target target = Target::gguf;
  std::vector<ExportTensor> tensors;            ///< in file order
  std::vector<GgufKv> kv;                       ///< GGUF target: all metadata, in file order
  std::vector<ExportFile> files;                ///< Hugging Face target: config.json, tokenizer, ...
  std::map<std::string, std::string> metadata;  ///< Hugging Face target: of every safetensors file
  std::vector<UnclaimedTensor> dropped;  ///< source tensors that the target leaves out, with the reason

  explicit ExportPlan(Checkpoint source) : checkpoint_(std::move(source)) {}
  const Checkpoint& checkpoint() const noexcept { return checkpoint_; }

  /// Rows [row, row + n) of the tensor in the target's order, seen as a matrix, as f32: what a solver rounds.
  void read_rows(const ExportTensor& t, int64_t row, int64_t n, float* out) const;
  /// The stored planes, when they can be written as they are: same format, same order of weights.
  std::optional<QTensor> as_stored(const ExportTensor& t) const;
  /// What stands in the source's files about where rows [row, row + n) do: all rows together make up the
  /// tensor's first plane, or that of its expert. For readers who want to be told what will be read.
  std::span<const std::byte> stored_part(const ExportTensor& t, int64_t row, int64_t n) const;
  /// Lets go of the source's memory pages.
  void release(const ExportTensor& t) const noexcept;

 private:
  Checkpoint checkpoint_;
};

/// Chooses the format of a tensor that is not fixed; `shape` is the target's. The returned format must hold
/// the shape: plan_export throws Error{unsupported} naming the tensor where it does not.
using FormatChoice = std::function<const Format&(const CanonicalTensor& source,
                                                 const std::string& target_name, const Shape& shape)>;

/// Plans a file. GGUF keeps 1-d tensors, norms, biases, routers and position embeddings in f32, as its
/// readers expect; a Hugging Face folder keeps those in `small`, or (null) in the source's float type, f32
/// when that was no float. `file_type` is general.file_type (GGUF: 0 f32, 1 f16, 15 Q4_K_M, 32 bf16, ...).
/// GGUF to GGUF keeps all metadata but general.file_type, general.quantization_version and what tells of an
/// earlier split or quantization. Quantized tensors of a Hugging Face folder keep the folder's row order,
/// except transposed ones (GPT-2), which stand as [out, in]. Throws Error{unsupported} where the target
/// cannot express the model.
ExportPlan plan_export(const Checkpoint& source, Target target, const FormatChoice& choose, int file_type,
                       const Format* small = nullptr);

/// Choice for `convert`: every tensor in `format`, or (null) in the float type it has, f32 for quantized
/// ones.
FormatChoice float_choice(const Format* format);

/// general.file_type of a file whose matrices are all of this float format; 0 for others.
int file_type_of(const Format& format);

/// Where every byte will stand: a GGUF file, or a folder with its further files. `shard_size` as in
/// plan_safetensors; GGUF files are never split.
OutputPlan plan_output(const ExportPlan& plan, const std::string& path, uint64_t shard_size = 0);

}  // namespace nibble
