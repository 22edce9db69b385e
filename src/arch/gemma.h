#pragma once

#include "arch/arch.h"

namespace nibble {

/// The table that Gemma 2 and 3 share: four norms a layer that store w - 1, half-split rope, GELU-gated MLP.
std::vector<TensorRow> gemma_rows();
/// Steps of a layer: a norm before and after each sub-block.
std::vector<Step> gemma_layer(bool qk_norm);
/// Factor on attention scores that readers of GGUF take: 1 / sqrt(head_dim), but 1 / sqrt(hidden / heads) in
/// the 27B model, which they know by its number of layers.
double gemma_gguf_query_scale(const Hparams& h, int64_t layers_of_27b);
std::string gemma_gguf_misfit(const Hparams& h, int64_t layers_of_27b);

}  // namespace nibble
