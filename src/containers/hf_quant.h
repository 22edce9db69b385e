#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/meta.h"
#include "containers/output_plan.h"
#include "containers/tensor_file.h"

namespace nibble {

/// How quantized tensors stand in safetensors files. nibble's own convention (docs/storage.md): plane P of
/// tensor T is the stored tensor "T.P" (a format's only, nameless plane is "T" itself), and config.json says
///   "quantization_config": {"quant_method": "nibble", "version": 1,
///                           "tensors": {"T": {"format": "int4:g128:asym", "shape": [4096, 4096]}}}
/// A single file without a config.json carries the same object as text in its metadata.
std::string plane_tensor_name(std::string_view tensor, std::string_view plane);

/// True if the tensor is stored as itself: plain elements or a float format without parameters.
bool is_stored_plain(const PlannedTensor& tensor);

/// The quantization_config object that describes these tensors; empty if all are stored plain.
std::string quantization_config(std::span<const PlannedTensor> tensors);

/// config.json with the quantization_config for these tensors in place of the one it may have had. Throws
/// Error{bad_input} with `file` if `config` is no JSON object.
std::string with_quantization_config(std::string_view config, std::span<const PlannedTensor> tensors,
                                     const std::string& file);

/// Key of a file's metadata under which nibble's quantization_config stands where there is no config.json.
constexpr std::string_view quantization_metadata_key = "quantization_config";

/// One way of storing quantized tensors, told by quant_method. Adding one: a line in the list of
/// hf_quant.cpp.
struct HfConvention {
  std::string_view quant_method;
  /// Replaces the stored planes by whole tensors. `config` is config.json flattened; `file` names it.
  void (*assemble)(TensorListing& listing, const Meta& config, const std::string& file);
};
std::span<const HfConvention> hf_conventions();

/// Assembles the quantized tensors that `config` tells of; nothing to do without a quantization_config.
/// Throws Error{unsupported} for a quant_method that is not in the list, Error{bad_input} with `file` and
/// tensor for planes that are missing or of another shape or type than the format's.
void assemble_quantized(TensorListing& listing, const Meta& config, const std::string& file);

}  // namespace nibble
