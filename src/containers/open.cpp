#include <filesystem>

#include "base/error.h"
#include "containers/gguf.h"
#include "containers/hf_folder.h"
#include "containers/safetensors.h"
#include "containers/tensor_file.h"

namespace nibble {
namespace {

std::string_view beginning(const MappedFile& file) {
  const auto bytes = file.data().first(std::min<size_t>(file.size(), 16));
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
  throw Error(ErrorKind::bad_input, fmt::format("{}: offset 0: neither a GGUF nor a safetensors file", path),
              "a model is a .gguf or .safetensors file or a Hugging Face folder");
}

}  // namespace nibble
