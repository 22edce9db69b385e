// TokenizerData → the keys of a GGUF file.
#include <algorithm>

#include "base/error.h"
#include "tokenizers/checks.h"
#include "tokenizers/gguf_pre.h"
#include "tokenizers/gguf_vocab.h"

namespace nibble {

namespace {

std::string key(const char* name) { return std::string("tokenizer.ggml.") + name; }

const char* model_name(const TokenizerData& data) {
  switch (data.model) {
    case TokenizerModel::spm_bpe:
      return "llama";
    case TokenizerModel::unigram:
      return "t5";
    case TokenizerModel::word_piece:
      return "bert";
    case TokenizerModel::bpe:
      return data.pre == "gemma4" ? "gemma4" : data.pre == "whitespace" ? "whitespace" : "gpt2";
    default:
      fail(ErrorKind::unsupported, "GGUF has no vocabulary of characters or whole words");
  }
}

// GGUF marks the start of a word with U+2581 where BERT marks what is not the start.
std::string word_piece_spelling(const TokenizerData& data, size_t id) {
  const std::string& token = data.tokens[id];
  if (data.source == TokenizerSource::gguf || data.types[id] == TokenType::control) return token;
  if (token.starts_with('[') && token.ends_with(']') && token.size() > 2) return token;
  if (!data.continuing_prefix.empty() && token.starts_with(data.continuing_prefix) &&
      token.size() > data.continuing_prefix.size())
    return token.substr(data.continuing_prefix.size());
  return "\xe2\x96\x81" + token;
}

void write_flags(const TokenizerData& data, Meta& meta) {
  const auto has = [](const std::vector<int32_t>& ids, int32_t id) {
    return id >= 0 && std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  meta.set(key("add_bos_token"), data.add_bos || has(data.prefix, data.bos));
  meta.set(key("add_eos_token"), data.add_eos || has(data.suffix, data.eos));
  if (data.sep >= 0 && has(data.suffix, data.sep)) meta.set(key("add_sep_token"), true);
  if (data.model == TokenizerModel::spm_bpe || data.model == TokenizerModel::unigram)
    meta.set(key("add_space_prefix"), data.add_dummy_prefix);
  if (data.remove_extra_whitespaces) meta.set(key("remove_extra_whitespaces"), true);
  if (data.model == TokenizerModel::unigram && !data.charsmap.empty()) {
    std::vector<int64_t> bytes;
    for (const char c : data.charsmap) bytes.push_back(static_cast<unsigned char>(c));
    meta.set(key("precompiled_charsmap"), std::move(bytes));
  }
  if (data.model == TokenizerModel::word_piece) {
    meta.set(key("normalizer.lowercase"), data.lowercase);
    meta.set(key("normalizer.strip_accents"), data.strip_accents);
  }
  if (!data.chat_template.empty()) meta.set("tokenizer.chat_template", data.chat_template);
}

}  // namespace

void write_gguf_vocab(const TokenizerData& data, Meta& meta) {
  const std::string model = model_name(data);
  meta.set(key("model"), model);
  if (data.model == TokenizerModel::bpe) {
    if (data.pre.empty() && data.source != TokenizerSource::gguf)
      throw Error(ErrorKind::unsupported,
                  "GGUF has no name for the way this tokenizer splits text into words",
                  "keep the model in its own format");
    meta.set(key("pre"), data.pre.empty() ? std::string("default") : data.pre);
    std::vector<std::string> merges;
    merges.reserve(data.merges.size());
    for (const auto& [left, right] : data.merges) {
      if (left.find(' ') != left.npos || right.find(' ') != right.npos)
        fail(ErrorKind::unsupported, "GGUF cannot hold the merge of '{}' and '{}': spaces separate the parts",
             printable(left), printable(right));
      merges.push_back(left + " " + right);
    }
    meta.set(key("merges"), std::move(merges));
  } else {
    meta.set(key("pre"), data.pre.empty() ? std::string("default") : data.pre);
  }
  std::vector<std::string> tokens = data.tokens;
  std::vector<int64_t> types;
  types.reserve(data.types.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (data.model == TokenizerModel::word_piece) tokens[i] = word_piece_spelling(data, i);
    types.push_back(static_cast<int64_t>(data.types[i]));
  }
  meta.set(key("tokens"), std::move(tokens));
  meta.set(key("token_type"), std::move(types));
  if (!data.scores.empty())
    meta.set(key("scores"), std::vector<double>(data.scores.begin(), data.scores.end()));
  const auto id = [&](const char* name, int32_t value) {
    if (value >= 0) meta.set(key(name), static_cast<uint64_t>(value));
  };
  id("bos_token_id", data.bos >= 0 ? data.bos : data.cls);
  id("eos_token_id", data.eos);
  id("eot_token_id", data.eot);
  id("unknown_token_id", data.unk);
  id("seperator_token_id", data.sep);  // spelled so in the format
  id("padding_token_id", data.pad);
  id("cls_token_id", data.cls);
  id("mask_token_id", data.mask);
  write_flags(data, meta);
}

}  // namespace nibble
