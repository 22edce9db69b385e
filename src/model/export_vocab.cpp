#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "model/export_parts.h"
#include "tokenizers/vocab.h"

namespace nibble {
namespace {

constexpr std::string_view space_mark = "\xe2\x96\x81";  // U+2581

// GGUF's names for how text becomes pieces.
std::string_view gguf_model(const TokenizerData& data) {
  switch (data.model) {
    case TokenizerModel::spm_bpe:
      return "llama";
    case TokenizerModel::bpe:
      return data.byte_fallback ? "llama" : "gpt2";
    case TokenizerModel::unigram:
      return "t5";
    case TokenizerModel::word_piece:
      return "bert";
    case TokenizerModel::spm_char:
    case TokenizerModel::spm_word:
    case TokenizerModel::word_level:
      break;
  }
  throw Error(ErrorKind::unsupported,
              "GGUF has no convention for this tokenizer (one piece per character or word)",
              "write a Hugging Face folder instead: give a folder as output");
}

// A tokenizer.json made from a sentencepiece model lists merges by falling score and has lost the scores; any
// falling numbers give the same order.
std::vector<float> scores_of_merges(const TokenizerData& data) {
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t i = 0; i < data.tokens.size(); ++i) ids.emplace(data.tokens[i], i);
  std::vector<float> scores(data.tokens.size(), 0);
  float rank = 0;
  for (const auto& [left, right] : data.merges) {
    rank -= 1;
    const auto at = ids.find(left + right);
    if (at != ids.end() && scores[at->second] == 0) scores[at->second] = rank;
  }
  return scores;
}

// "##x" goes on, "x" begins a word; GGUF marks the beginning instead.
std::string word_piece_entry(const TokenizerData& data, size_t id) {
  const std::string& piece = data.tokens[id];
  const bool special = data.types.size() > id && data.types[id] != TokenType::normal;
  if (special || (piece.starts_with('[') && piece.ends_with(']'))) return piece;
  const std::string& inside = data.continuing_prefix.empty() ? "##" : data.continuing_prefix;
  if (piece.starts_with(inside)) return piece.substr(inside.size());
  return std::string(space_mark) + piece;
}

// Whether a space is put before the text, wherever the scheme says so.
bool prepends_space(const TokenizerData& data) {
  if (data.source != TokenizerSource::huggingface) return data.add_dummy_prefix;
  for (const NormalizerStep& s : data.normalizers) {
    if (s.kind == NormalizerKind::prepend) return true;
  }
  for (const PreTokenizerStep& s : data.pre_tokenizers) {
    if (s.kind == PreTokenizerKind::metaspace) return s.prepend != PrependScheme::never;
  }
  return false;
}

TokenType type_of(const TokenizerData& data, size_t id, std::string_view model) {
  const TokenType type = id < data.types.size() ? data.types[id] : TokenType::normal;
  const bool plain = type == TokenType::normal || type == TokenType::undefined;
  if (model == "llama" && plain && byte_of_piece(data.tokens[id]) >= 0) return TokenType::byte;
  return type;
}

std::string pre_name(const TokenizerData& data, const Arch& arch, std::string_view model) {
  if (!data.pre.empty()) return data.pre;
  if (model != "gpt2") return model == "bert" ? std::string(arch.default_pre) : "default";
  throw Error(ErrorKind::unsupported, "GGUF has no name for the way this tokenizer splits text into words",
              "write a Hugging Face folder instead: give a folder as output");
}

void add_ids(const TokenizerData& data, int64_t rows, const Meta& config, std::vector<GgufKv>& kv) {
  const auto add = [&](const char* key, int64_t id, const char* config_key) {
    if (id < 0 && config_key != nullptr) id = config.integer(config_key).value_or(-1);
    if (id >= 0 && id < rows) {
      kv.push_back(GgufKv::u32(std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(id)));
    }
  };
  add("bos_token_id", data.bos >= 0 ? data.bos : data.cls, "bos_token_id");
  add("eos_token_id", data.eos, "eos_token_id");
  add("unknown_token_id", data.unk, nullptr);
  add("padding_token_id", data.pad, "pad_token_id");
  add("seperator_token_id", data.sep, nullptr);  // sic
  add("cls_token_id", data.cls, nullptr);
  add("mask_token_id", data.mask, nullptr);
  add("eot_token_id", data.eot, nullptr);
}

}  // namespace

std::vector<GgufKv> gguf_vocabulary(const TokenizerData& data, const Arch& arch, int64_t rows,
                                    const Meta& config) {
  const std::string_view model = gguf_model(data);
  const auto size = static_cast<size_t>(rows);
  if (data.tokens.size() > size) {
    fail(ErrorKind::bad_input, "the tokenizer has {} entries, the embedding {} rows", data.tokens.size(),
         rows);
  }
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    tokens.push_back(model == "bert" ? word_piece_entry(data, i) : data.tokens[i]);
    types.push_back(static_cast<int32_t>(type_of(data, i, model)));
  }
  std::vector<float> scores = data.scores;
  if (model == "llama" && scores.empty()) scores = scores_of_merges(data);
  scores.resize(tokens.size(), 0);
  // Rows of the embedding beyond the vocabulary.
  for (size_t i = tokens.size(); i < size; ++i) {
    tokens.push_back(fmt::format("[PAD{}]", i));
    types.push_back(static_cast<int32_t>(TokenType::unused));
    scores.push_back(-10000);
  }

  std::vector<GgufKv> kv;
  kv.push_back(GgufKv::text("tokenizer.ggml.model", model));
  kv.push_back(GgufKv::text("tokenizer.ggml.pre", pre_name(data, arch, model)));
  kv.push_back(GgufKv::texts("tokenizer.ggml.tokens", tokens));
  if (model == "llama" || model == "t5") kv.push_back(GgufKv::f32s("tokenizer.ggml.scores", scores));
  kv.push_back(GgufKv::i32s("tokenizer.ggml.token_type", types));
  if (model == "gpt2") {
    std::vector<std::string> merges;
    for (const auto& [left, right] : data.merges) {
      if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos) {
        fail(ErrorKind::unsupported, "GGUF cannot hold a merge of parts with spaces in them: '{}' and '{}'",
             left, right);
      }
      merges.push_back(fmt::format("{} {}", left, right));
    }
    kv.push_back(GgufKv::texts("tokenizer.ggml.merges", merges));
  }
  add_ids(data, rows, config, kv);
  const auto holds = [](const std::vector<int32_t>& ids, int32_t id) {
    return id >= 0 && std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  kv.push_back(GgufKv::boolean("tokenizer.ggml.add_bos_token", data.add_bos || holds(data.prefix, data.bos)));
  kv.push_back(GgufKv::boolean("tokenizer.ggml.add_eos_token", data.add_eos || holds(data.suffix, data.eos)));
  if ((model == "llama" || model == "t5") && !prepends_space(data)) {
    kv.push_back(GgufKv::boolean("tokenizer.ggml.add_space_prefix", false));
  }
  if (model == "t5")
    kv.push_back(GgufKv::boolean("tokenizer.ggml.remove_extra_whitespaces", data.remove_extra_whitespaces));
  if (model == "bert") {
    kv.push_back(GgufKv::boolean("tokenizer.ggml.normalizer.lowercase", data.lowercase));
    kv.push_back(GgufKv::boolean("tokenizer.ggml.normalizer.strip_accents", data.strip_accents));
  }
  if (!data.chat_template.empty()) kv.push_back(GgufKv::text("tokenizer.chat_template", data.chat_template));
  return kv;
}

}  // namespace nibble
