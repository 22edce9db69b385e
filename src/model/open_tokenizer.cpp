#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "containers/gguf.h"
#include "model/checkpoint.h"
#include "tokenizers/tokenizer.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

bool is_gguf_file(const std::string& path) {
  char magic[4] = {};
  std::ifstream in(path, std::ios::binary);
  in.read(magic, sizeof magic);
  return in.gcount() == 4 && std::string_view(magic, 4) == "GGUF";
}

// What Tokenizer::open looks for in a folder.
bool holds_tokenizer(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}) {
    if (fs::exists(folder / name)) return true;
  }
  return false;
}

}  // namespace

bool Checkpoint::has_tokenizer() const {
  if (source() == SourceKind::gguf) return meta().has("tokenizer.ggml.tokens");
  return holds_tokenizer(folder());
}

Tokenizer Checkpoint::tokenizer() const {
  return source() == SourceKind::gguf ? Tokenizer::from_gguf(meta()) : Tokenizer::open(folder());
}

Tokenizer open_tokenizer(const std::string& path) {
  if (!fs::exists(path)) fail(ErrorKind::io, "{}: no such file or folder", path);
  if (fs::is_directory(path)) return Tokenizer::open(path);
  if (is_gguf_file(path)) return Tokenizer::from_gguf(open_gguf(path).metadata());
  const std::string ext = fs::path(path).extension().string();
  if (ext == ".safetensors" || ext == ".bin" || ext == ".pt") {
    return Tokenizer::open(fs::path(path).parent_path().string());
  }
  return Tokenizer::open(path);
}

}  // namespace nibble
