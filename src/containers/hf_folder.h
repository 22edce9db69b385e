#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "containers/tensor_file.h"

namespace nibble {

/// Opens a folder as Hugging Face lays it out; see open_tensor_file.
TensorFile open_hf_folder(const std::string& path);

/// Assembles quantized tensors of a single file as its own metadata says; false if it says nothing.
bool assemble_by_metadata(TensorListing& listing, const std::string& file);
/// The same, or else as the config.json beside it says.
void assemble_as_described(TensorListing& listing, const std::string& path);

/// The files an index names in its weight_map (model.safetensors.index.json, pytorch_model.bin.index.json),
/// each with the tensors it should hold, in the order of first mention. Throws Error{bad_input} with `file`
/// and offset; file names with a folder in them are refused.
struct ShardIndex {
  struct Shard {
    std::string file;
    std::vector<std::string> tensors;
  };
  std::vector<Shard> shards;
};
ShardIndex parse_shard_index(std::string_view text, const std::string& file);

}  // namespace nibble
