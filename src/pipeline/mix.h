#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"

namespace nibble {

/// A per-file mix of GGUF formats under the name llama.cpp's users know: Q4_K_M and its like.
struct Mix {
  std::string_view name;       ///< lower case: "q4_k_m"
  std::string_view base;       ///< format of every matrix no rule names
  int file_type;               ///< general.file_type
  std::string_view output;     ///< format of the output matrix (of the embedding when they are tied)
  std::string_view embedding;  ///< format of the token embedding
};

std::span<const Mix> mixes();
/// By name in any case; null if there is none. "q4_k" means q4_k_m, as llama.cpp has it, and so on.
const Mix* mix_of(std::string_view name);

/// Which matrix of the file asks.
struct MixQuery {
  Role role;
  int64_t index = 0;    ///< its place among the tensors of its role, by layer
  int64_t count = 1;    ///< how many of its role there are
  bool expert = false;  ///< a stack of experts
};

/// The format word a mix gives a matrix, by the rules of llama.cpp's llama_tensor_get_type_impl
/// (src/llama-quant.cpp) without an importance matrix.
std::string_view mix_format(const Mix& mix, const MixQuery& query, const Hparams& hparams);

}  // namespace nibble
