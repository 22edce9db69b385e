#pragma once

#include "arch/arch.h"

namespace nibble {

/// Steps of a post-norm encoder layer: each norm stands after the addition.
std::vector<Step> bert_layer();

}  // namespace nibble
