#include "cli/output_path.h"

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace nibble::cli {

namespace fs = std::filesystem;

Target target_of(const std::string& path) {
  const fs::path p(path);
  const std::string extension = p.extension();
  if (extension == ".gguf") {
    if (fs::is_directory(p)) fail(ErrorKind::usage, "{} is a folder", path);
    return Target::gguf;
  }
  if (extension == ".safetensors" || extension == ".bin" || extension == ".pt" || extension == ".pth") {
    throw Error(ErrorKind::usage, fmt::format("{} would be one file of a model", path),
                "name a folder: it receives model.safetensors, config.json and the tokenizer");
  }
  if (fs::exists(p) && !fs::is_directory(p)) {
    throw Error(ErrorKind::usage, fmt::format("{} is a file", path),
                "name a folder, or a file ending in .gguf");
  }
  return Target::huggingface;
}

void require_distinct(const std::string& input, const std::string& output) {
  std::error_code ignored;
  if (fs::equivalent(input, output, ignored) ||
      fs::equivalent(fs::path(input).parent_path(), output, ignored)) {
    fail(ErrorKind::usage, "{} would overwrite its own source {}", output, input);
  }
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(ErrorKind::io, "cannot write {}", path);
}

}  // namespace nibble::cli
