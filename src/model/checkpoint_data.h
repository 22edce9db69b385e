#pragma once

#include "model/checkpoint.h"

namespace nibble {

/// What a Checkpoint shares between its copies.
struct Checkpoint::Data {
  const Arch* arch = nullptr;
  Hparams hparams;
  SourceKind source = SourceKind::huggingface;
  std::string path;
  std::string folder;  ///< that config.json was found in; empty for GGUF
  Meta meta;
  std::shared_ptr<const TensorFile> file;
  std::shared_ptr<const WeightChange> change;  ///< null: none
  std::vector<CanonicalTensor> tensors;
  std::vector<UnclaimedTensor> unclaimed;
  std::map<std::string, size_t, std::less<>> by_name;
};

/// Fills tensors, unclaimed, by_name and what only tensors tell of the hyper-parameters (tied, rope factors).
/// Throws Error{bad_input} listing missing tensors and naming wrong shapes.
void claim_tensors(Checkpoint::Data& data);

/// The name with {l} and {e} filled in.
std::string tensor_name(std::string_view pattern, int64_t layer, int64_t expert);
/// A Hugging Face tensor name without the optional prefixes and in today's spelling (weight for gamma).
std::string plain_hf_name(const Arch& arch, std::string_view name);

}  // namespace nibble
