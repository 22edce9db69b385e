// Finding and reading the tokenizer of a folder or file.
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tokenizers/hf_json.h"
#include "tokenizers/sentencepiece.h"
#include "tokenizers/special.h"
#include "tokenizers/tokenizer.h"

namespace nibble {

namespace {

namespace fs = std::filesystem;

std::string_view view(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

TokenizerData open_file(const fs::path& path) {
  const MappedFile file(path.string());
  const std::string name = path.filename();
  if (name == "vocab.json" || name == "merges.txt") {
    const MappedFile vocab((path.parent_path() / "vocab.json").string());
    const MappedFile merges((path.parent_path() / "merges.txt").string());
    return read_vocab_and_merges(view(vocab), view(merges), path.string());
  }
  if (path.extension() == ".json") return read_hf_tokenizer(view(file), path.string());
  if (path.extension() == ".txt") return read_vocab_txt(view(file), path.string());
  return read_sentencepiece(view(file), path.string());
}

}  // namespace

Tokenizer Tokenizer::open(const std::string& path) {
  fs::path file(path);
  fs::path folder;
  if (fs::is_directory(file)) {
    folder = file;
    for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}) {
      const bool usable = fs::exists(folder / name) &&
                          (std::string_view(name) != "vocab.json" || fs::exists(folder / "merges.txt"));
      if (!usable) continue;
      file = folder / name;
      break;
    }
    if (file == folder)
      throw Error(ErrorKind::io, fmt::format("{}: no tokenizer in this folder", path),
                  "expected tokenizer.json, tokenizer.model, vocab.json with merges.txt, or vocab.txt");
  }
  TokenizerData data = open_file(file);
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    if (folder.empty() || !fs::exists(folder / name)) continue;
    const MappedFile config((folder / name).string());
    read_hf_config(view(config), (folder / name).string(), data);
  }
  if (!folder.empty() && fs::exists(folder / "chat_template.jinja")) {
    const MappedFile text((folder / "chat_template.jinja").string());
    data.chat_template = view(text);
  }
  find_turn_end(data);
  return Tokenizer(std::move(data));
}

}  // namespace nibble
