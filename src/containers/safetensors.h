#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "containers/tensor_file.h"

namespace nibble {

/// Reads one safetensors file from memory: u64 header length, JSON header, data
/// (huggingface.co/docs/safetensors). Tensors come in the order of their data, as views into `bytes`, kept
/// alive by `owner`; metadata is `__metadata__`. Throws Error{bad_input} with `file`, offset and expectation:
/// a header over 100 MB or malformed, names that occur twice, offsets that overlap, leave gaps or leave the
/// file, sizes that contradict shape and type. Tensors of types nibble cannot use are listed with
/// `unsupported` set.
TensorListing parse_safetensors(std::span<const std::byte> bytes, const std::string& file,
                                const std::shared_ptr<const void>& owner = {});

/// Opens one safetensors file.
TensorFile open_safetensors(const std::string& path);

/// The spelling of a type in the header ("BF16", "F8_E4M3").
std::string_view safetensors_dtype_name(DType dtype) noexcept;

constexpr uint64_t safetensors_largest_header = 100'000'000;

}  // namespace nibble
