#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "containers/tensor_file.h"

namespace nibble {

/// Reads what torch.save writes since PyTorch 1.6: a zip archive of a pickle and its storages. Nothing in the
/// pickle is executed beyond building plain data and tensors (containers/pickle.h). Tensors inside of nested
/// dicts and lists get dotted names; numbers and strings beside them become metadata. Contiguous tensors are
/// views into `bytes`, others (a saved transpose) are copied into order. Throws Error{bad_input, unsupported}
/// with `file` and offset or name.
TensorListing parse_torch(std::span<const std::byte> bytes, const std::string& file,
                          const std::shared_ptr<const void>& owner = {});

TensorFile open_torch(const std::string& path);

/// Why a file with this beginning (512 bytes are enough) is a torch file nibble does not read: the formats of
/// PyTorch before 1.6. Empty if it is none.
std::string legacy_torch(std::string_view beginning);

}  // namespace nibble
