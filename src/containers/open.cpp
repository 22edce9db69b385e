#include <filesystem>

#include "base/error.h"
#include "containers/gguf.h"
#include "containers/hf_folder.h"
#include "containers/safetensors.h"
#include "containers/tensor_file.h"
#include "containers/torch_zip.h"

namespace nibble {
namespace {

std::string_view beginning(const MappedFile& file) {
  const auto bytes = file.data().first(std::min<size_t>(file.size(), 512));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TensorFile open_tensor_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_hf_folder(path);
  const MappedFile file(path);
  const std::string_view start = beginning(file);
  if (start.starts_with("GGUF")) return open_gguf(path);
  // A safetensors file begins with the length of its header, then the header's brace.
  if (start.size() > 8 && start[8] == '{') return open_safetensors(path);
  if (start.starts_with("PK\x03\x04")) return open_torch(path);
  if (const std::string legacy = legacy_torch(start); !legacy.empty()) {
    throw Error(ErrorKind::unsupported, fmt::format("{}: {}, which nibble does not read", path, legacy),
                "load it with PyTorch and save it as safetensors");
  }
  throw Error(
      ErrorKind::bad_input,
      fmt::format("{}: offset 0: expected a GGUF, safetensors or torch zip file, found none of them", path),
      "a model is a .gguf, .safetensors or .bin file, or a Hugging Face folder");
}

}  // namespace nibble
