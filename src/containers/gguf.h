#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "containers/tensor_file.h"

namespace nibble {

/// Reads one GGUF file, version 2 or 3, from memory: its keys, and its tensors as views into `bytes`, kept
/// alive by `owner`. Throws Error{bad_input} with `file`, offset and expectation for anything that breaks the
/// format (ggml's docs/gguf.md): counts, lengths, types, duplicate names, misaligned, overlapping or outlying
/// tensors; Error{unsupported} for version 1, big-endian files and nested arrays. Tensors of types that
/// nibble does not know are listed with `unsupported` set.
TensorListing parse_gguf(std::span<const std::byte> bytes, const std::string& file,
                         const std::shared_ptr<const void>& owner = {});

/// Opens a GGUF file; any part of a split one opens all of them, which must stand in the same folder under
/// their usual names, NAME-00001-of-00003.gguf.
TensorFile open_gguf(const std::string& path);

/// Longest tensor name llama.cpp reads.
constexpr size_t gguf_longest_name = 63;
constexpr uint64_t gguf_default_alignment = 32;
/// Where the keys begin: after the magic, the version and the two counts.
constexpr uint64_t gguf_keys_at = 24;

/// The plain element type behind a ggml type number, for the ones that are no weight format.
std::optional<DType> gguf_plain_dtype(uint32_t id);
/// Its inverse; nothing for types GGUF has no number for.
std::optional<uint32_t> gguf_plain_id(DType dtype);

}  // namespace nibble
