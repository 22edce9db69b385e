#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "support/data.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/utf8.h"

namespace nibble::test {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

/// FNV-1a over the ids as little-endian int32, as the oracle scripts compute it.
inline std::string hash_ids(const std::vector<int32_t>& ids) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const int32_t id : ids)
    for (unsigned shift = 0; shift < 32; shift += 8)
      h = (h ^ ((static_cast<uint32_t>(id) >> shift) & 0xffu)) * 0x100000001b3u;
  return fmt::format("{:016x}", h);
}

/// The texts that tokenizers are compared on; empty where the test data is absent.
inline std::vector<std::filesystem::path> texts() {
  std::vector<std::filesystem::path> found;
  const std::filesystem::path folder = data_dir() / "text";
  if (!std::filesystem::exists(folder)) return found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().filename() != "SOURCE.txt") found.push_back(entry.path());
  if (const auto heldout = data_dir() / "models/docs-21m/heldout.txt"; std::filesystem::exists(heldout))
    found.push_back(heldout);
  std::sort(found.begin(), found.end());
  return found;
}

/// A llama2.c tokenizer dump (u32 longest piece; then f32 score, u32 length, bytes for each piece) as
/// sentencepiece BPE.
inline TokenizerData llama2c_dump(const std::filesystem::path& path) {
  const std::string raw = read_text(path);
  TokenizerData data;
  data.byte_fallback = true;
  for (size_t at = 4; at + 8 <= raw.size();) {
    float score = 0;
    uint32_t size = 0;
    std::memcpy(&score, raw.data() + at, 4);
    std::memcpy(&size, raw.data() + at + 4, 4);
    std::string piece;
    for (const char c : raw.substr(at + 8, size)) piece += c == ' ' ? "\xe2\x96\x81" : std::string(1, c);
    at += 8 + size;
    const size_t id = data.tokens.size();
    data.tokens.push_back(id == 1 ? "<s>" : id == 2 ? "</s>" : piece);
    data.scores.push_back(score);
    data.types.push_back(id == 0    ? TokenType::unknown
                         : id < 3   ? TokenType::control
                         : id < 259 ? TokenType::byte
                                    : TokenType::normal);
  }
  data.unk = 0;
  data.bos = 1;
  data.eos = 2;
  data.add_bos = true;
  return data;
}

/// llama.cpp's cases for one of its vocabularies: texts separated by a line of their own, ids a line for
/// each.
inline std::vector<std::pair<std::string, std::vector<int32_t>>> llama_cpp_cases(
    const std::string& vocabulary) {
  const auto base = data_dir() / "tokenizers/gguf-vocab" / ("ggml-vocab-" + vocabulary + ".gguf");
  const std::string all = read_text(base.string() + ".inp");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::pair<std::string, std::vector<int32_t>>> cases;
  std::ifstream lines(base.string() + ".out");
  size_t at = 0;
  for (std::string line; at < all.size() && std::getline(lines, line);) {
    const size_t end = std::min(all.find(separator, at), all.size());
    std::istringstream numbers(line);
    std::vector<int32_t> ids;
    for (int32_t id = 0; numbers >> id;) ids.push_back(id);
    cases.emplace_back(all.substr(at, end - at), std::move(ids));
    at = end + separator.size();
  }
  return cases;
}

/// Up to 40 code points, mostly Latin, some from anywhere.
inline std::string random_text(Rng& rng) {
  std::string text;
  for (uint64_t i = rng.below(40); i > 0; --i) {
    auto code = static_cast<char32_t>(rng.below(rng.below(4) == 0 ? 0x110000 : 0x250));
    // sentencepiece's visible space is spelled like a space and cannot come back; surrogates are no text.
    if (code == 0x2581 || (code >= 0xd800 && code < 0xe000)) code = ' ';
    utf8::append(text, code);
  }
  return text;
}

/// What the stream decoder makes of `ids`; every piece must be valid UTF-8.
inline std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  Tokenizer::StreamDecoder stream(tokenizer);
  std::string all;
  for (const int32_t id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_TRUE(utf8::valid(piece));
    all += piece;
  }
  return all + stream.finish();
}

inline std::string param_name(const testing::TestParamInfo<const char*>& param) {
  std::string name;
  for (const char c : std::string(param.param))
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
  return name;
}

}  // namespace nibble::test
