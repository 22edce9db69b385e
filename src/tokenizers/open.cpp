// Finding and reading the tokenizer of a folder or file.
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tokenizers/sentencepiece.h"
#include "tokenizers/tokenizer.h"

namespace nibble {

namespace {

namespace fs = std::filesystem;

std::string_view view(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

TokenizerData open_sentencepiece(const fs::path& path) {
  const MappedFile file(path.string());
  return read_sentencepiece(view(file), path.string());
}

}  // namespace

Tokenizer Tokenizer::open(const std::string& path) {
  fs::path file(path);
  if (fs::is_directory(file)) {
    if (fs::exists(file / "tokenizer.model")) return Tokenizer(open_sentencepiece(file / "tokenizer.model"));
    throw Error(ErrorKind::io, fmt::format("{}: no tokenizer.model", path));
  }
  return Tokenizer(open_sentencepiece(file));
}

}  // namespace nibble
