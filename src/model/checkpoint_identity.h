#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/pool.h"
#include "model/checkpoint.h"

namespace nibble {

/// A line for each of the weight files: path, size, time of the last change. Changes when a file does,
/// without reading it. One more line for what is changed as it is read. Throws Error{io}.
std::string files_state(const Checkpoint& model);

/// Of everything in the weight files, wherever they stand and whatever they are called: 32 hexadecimal digits
/// of XXH3-128 over those of pieces of 16 MiB, file after file. Reads all of them once, on all threads; the
/// result does not depend on their number. Throws Error{io, interrupted}.
/// `step` is told of the bytes as they are read, from several threads.
std::string content_hash(
    const Checkpoint& model, ThreadPool& pool,
    const std::function<void(uint64_t bytes)>& step = [](uint64_t) {});

}  // namespace nibble
