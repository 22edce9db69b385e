#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "model/executor.h"

namespace nibble {

/// How the hidden states of a text become one vector.
enum class Pooling : uint8_t { none, mean, cls, last };
/// Throws Error{usage} naming the choices.
Pooling pooling_from_name(std::string_view name);

/// Hidden states [n, cols] of a whole sequence to one vector (the mean, or that of the first or last token),
/// or unchanged. `normalize` scales each resulting vector to length 1.
std::vector<float> pool_hidden(std::span<const float> hidden, int64_t cols, Pooling pooling, bool normalize);

/// Vector of a text by an encoder.
std::vector<float> embed(Executor& executor, std::span<const int32_t> tokens, Pooling pooling,
                         bool normalize);

}  // namespace nibble
