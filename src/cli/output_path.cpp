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

// Writing over the mapped source would destroy it under our hands.
void refuse_own_source(const Checkpoint& source, const std::string& out) {
  std::error_code ec;
  const auto same = [&](const fs::path& a) { return fs::exists(a, ec) && fs::equivalent(a, out, ec); };
  bool clash = !source.folder().empty() && same(source.folder());
  for (const std::string& file : source.file().files()) clash = clash || same(file);
  if (clash) throw Error(ErrorKind::usage, fmt::format("{}: the output would replace the input", out), "");
}

void refuse_unknown(const Checkpoint& source, bool allowed) {
  std::string list;
  size_t count = 0;
  for (const UnclaimedTensor& u : source.unclaimed()) {
    if (!u.harmless && ++count <= 10) list += "\n  " + u.name;
  }
  if (count == 0 || allowed) return;
  throw Error(
      ErrorKind::unsupported,
      fmt::format("{}: {} tensors are not known to architecture {}; without them it may be another model:{}",
                  source.path(), count, source.arch().name, list),
      "--drop-unknown leaves them out");
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(ErrorKind::io, "cannot write {}", path);
}

}  // namespace nibble::cli
