#pragma once

#include <string>

#include "model/checkpoint.h"

namespace nibble {

/// A line for each of the weight files: path, size, time of the last change. Changes when a file does,
/// without reading it. One more line for what is changed as it is read. Throws Error{io}.
std::string files_state(const Checkpoint& model);

}  // namespace nibble
