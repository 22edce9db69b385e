#pragma once

#include <string>

#include "base/meta.h"
#include "containers/tensor_file.h"

namespace nibble {

/// nibble's own convention; see containers/hf_quant.h and docs/storage.md.
void assemble_nibble(TensorListing& listing, const Meta& config, const std::string& file);

}  // namespace nibble
