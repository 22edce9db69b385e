#include "tokenizers/gguf_vocab.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tokenizers/checks.h"
#include "tokenizers/gguf_pre.h"
#include "tokenizers/special.h"
#include "tokenizers/tokenizer.h"

namespace nibble {

namespace {

constexpr const char* prefix = "tokenizer.ggml.";

std::string key_of(const char* name) { return std::string(prefix) + name; }

template <class T>
const std::vector<T>* array(const Meta& meta, const char* name) {
  const MetaValue* value = meta.find(key_of(name));
  if (value == nullptr) return nullptr;
  const auto* found = std::get_if<std::vector<T>>(value);
  if (found == nullptr) fail(ErrorKind::bad_input, "{}{} is no array of the expected type", prefix, name);
  return found;
}

void read_tokens(const Meta& meta, TokenizerData& data) {
  const auto* tokens = array<std::string>(meta, "tokens");
  if (tokens == nullptr) fail(ErrorKind::bad_input, "{}tokens is missing", prefix);
  data.tokens = *tokens;
  for (size_t i = 0; i < data.tokens.size(); ++i)
    if (data.tokens[i].empty()) data.tokens[i] = fmt::format("[EMPTY_{}]", i);
  const size_t count = data.tokens.size();
  if (const auto* scores = array<double>(meta, "scores")) {
    if (scores->size() < count)
      fail(ErrorKind::bad_input, "{}scores has {} entries, expected {}", prefix, scores->size(), count);
    data.scores.resize(count);
    for (size_t i = 0; i < count; ++i) {
      data.scores[i] = static_cast<float>((*scores)[i]);
      if (std::isnan(data.scores[i]))
        fail(ErrorKind::bad_input, "{}scores: entry {} is no number", prefix, i);
    }
  }
  data.types.assign(count, TokenType::normal);
  if (const auto* types = array<int64_t>(meta, "token_type")) {
    if (types->size() < count)
      fail(ErrorKind::bad_input, "{}token_type has {} entries, expected {}", prefix, types->size(), count);
    for (size_t i = 0; i < count; ++i) {
      const int64_t type = (*types)[i];
      data.types[i] = type >= 0 && type <= 6 ? static_cast<TokenType>(type) : TokenType::undefined;
    }
  }
}

void read_merges(const Meta& meta, bool required, TokenizerData& data) {
  const auto* merges = array<std::string>(meta, "merges");
  if (merges == nullptr) {
    if (required) fail(ErrorKind::bad_input, "{}merges is missing", prefix);
    return;
  }
  data.merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string& merge = (*merges)[i];
    const size_t space = merge.size() < 3 ? std::string::npos : merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size())
      fail(ErrorKind::bad_input, "{}merges: entry {} '{}' is not two parts with a space between", prefix, i,
           printable(merge));
    data.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

struct IdKey {
  const char* name;
  int32_t TokenizerData::*field;
};
constexpr std::array id_keys = {
    IdKey{"bos_token_id", &TokenizerData::bos},       IdKey{"eos_token_id", &TokenizerData::eos},
    IdKey{"eot_token_id", &TokenizerData::eot},       IdKey{"unknown_token_id", &TokenizerData::unk},
    IdKey{"seperator_token_id", &TokenizerData::sep},  // spelled so in the format
    IdKey{"padding_token_id", &TokenizerData::pad},   IdKey{"cls_token_id", &TokenizerData::cls},
    IdKey{"mask_token_id", &TokenizerData::mask}};

// A default that the vocabulary is too small for is none; an explicit id out of range is ignored, as by
// llama.cpp: there are such files.
void read_ids(const Meta& meta, TokenizerData& data) {
  const auto count = static_cast<int64_t>(data.tokens.size());
  for (const IdKey& key : id_keys) {
    int32_t& id = data.*key.field;
    if (id >= count) id = -1;
    const auto given = meta.integer(key_of(key.name));
    if (given && *given >= 0 && *given < count) id = static_cast<int32_t>(*given);
  }
}

void set_up_bpe(const std::string& model, TokenizerData& data, bool& add_sep) {
  const std::string name = model == "gemma4" ? "gemma4" : data.pre;
  const auto rule = gguf_pre_rule(name);
  if (!rule)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}pre names the pre-tokenizer '{}'", prefix, printable(name)),
                "nibble knows those of llama.cpp; this file may be newer than nibble");
  data.pre = name;
  data.pre_tokenizers = rule->steps;
  data.ignore_merges = rule->ignore_merges;
  data.add_bos = rule->add_bos;
  data.byte_fallback = !rule->byte_level;
  add_sep = rule->add_sep;
  if (rule->no_bos) data.bos = -1;
  if (rule->escape_spaces) {
    NormalizerStep spaces;
    spaces.kind = NormalizerKind::replace;
    spaces.pattern = " ";
    spaces.content = "\xe2\x96\x81";
    data.normalizers.push_back(std::move(spaces));
  }
  DecoderStep decode;
  decode.kind = rule->byte_level ? DecoderKind::byte_level : DecoderKind::replace;
  if (!rule->byte_level) {
    decode.pattern = "\xe2\x96\x81";
    decode.content = " ";
    data.decoders.push_back(decode);
    decode = {};
    decode.kind = DecoderKind::byte_fallback;
  }
  data.decoders.push_back(decode);
}

// Facts that the format cannot say; llama.cpp goes by the name of the model.
void read_strip_rules(const Meta& meta, TokenizerData& data) {
  std::string name = meta.text("general.name").value_or("");
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool phi3 = name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
  const std::string arch = meta.text("general.architecture").value_or("");
  const bool jina = data.pre.starts_with("jina-v2-") || arch == "nomic-bert-moe" || arch == "jina-bert-v3";
  const bool modern_bert = name.find("modern-bert") != std::string::npos;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string& token = data.tokens[i];
    const TokenType type = data.types[i];
    const bool special =
        type == TokenType::control || type == TokenType::user_defined || type == TokenType::unknown;
    AddedToken added;
    added.id = static_cast<int32_t>(i);
    added.content = token;
    added.special = type == TokenType::control;
    added.rstrip = phi3 && (special || token == "</s>") && token != "<unk>" && token != "<s>" &&
                   token != "<|endoftext|>";
    added.lstrip = (jina && token == "<mask>") || (modern_bert && token == "[MASK]");
    if (added.rstrip || added.lstrip) data.added.push_back(std::move(added));
  }
}

}  // namespace

TokenizerData read_gguf_vocab(const Meta& meta) {
  TokenizerData data;
  data.source = TokenizerSource::gguf;
  data.remove_extra_whitespaces = false;
  const auto model = meta.text(key_of("model"));
  if (!model) fail(ErrorKind::bad_input, "{}model is missing: the file holds no vocabulary", prefix);
  data.pre = meta.text(key_of("pre")).value_or("");
  read_tokens(meta, data);
  bool add_sep = false;
  data.add_dummy_prefix = false;
  if (*model == "llama") {
    data.model = TokenizerModel::spm_bpe;
    data.bos = 1, data.eos = 2, data.unk = 0;
    data.add_dummy_prefix = data.add_bos = data.byte_fallback = true;
  } else if (*model == "bert") {
    data.model = TokenizerModel::word_piece;
    data.bos = 101, data.unk = 100, data.sep = 102, data.pad = 0, data.mask = 103;
    data.add_bos = add_sep = true;
  } else if (*model == "gpt2" || *model == "gemma4" || *model == "whitespace") {
    data.model = TokenizerModel::bpe;
    if (*model != "gemma4") data.bos = data.eos = 11;
    if (*model == "whitespace") data.pre = "whitespace";
    read_merges(meta, data.pre != "kimi-k2", data);
    set_up_bpe(*model, data, add_sep);
  } else if (*model == "t5") {
    data.model = TokenizerModel::unigram;
    data.eos = 1, data.unk = 2, data.pad = 0;
    data.add_eos = true;
    if (const auto* map = array<int64_t>(meta, "precompiled_charsmap"))
      for (const int64_t byte : *map) data.charsmap += static_cast<char>(byte);
  } else {
    throw Error(ErrorKind::unsupported, fmt::format("{}model is '{}'", prefix, printable(*model)),
                "nibble reads the vocabularies llama, gpt2, bert, t5 and gemma4");
  }
  data.add_dummy_prefix = meta.boolean(key_of("add_space_prefix")).value_or(data.add_dummy_prefix);
  data.remove_extra_whitespaces = meta.boolean(key_of("remove_extra_whitespaces")).value_or(false);
  read_ids(meta, data);
  data.add_bos = meta.boolean(key_of("add_bos_token")).value_or(data.add_bos);
  data.add_eos = meta.boolean(key_of("add_eos_token")).value_or(data.add_eos);
  if (data.pre == "gemma4") data.add_bos = true;
  add_sep = meta.boolean(key_of("add_sep_token")).value_or(add_sep);
  data.lowercase = meta.boolean(key_of("normalizer.lowercase")).value_or(*model != "whitespace");
  data.strip_accents = meta.boolean(key_of("normalizer.strip_accents")).value_or(data.lowercase);
  if (*model == "whitespace" && data.lowercase) {
    NormalizerStep lower;
    lower.kind = NormalizerKind::lowercase;
    data.normalizers.push_back(lower);
  }
  if (data.add_bos && data.bos >= 0) data.prefix = {data.bos};
  if (data.model == TokenizerModel::word_piece) {
    if (!meta.has(key_of("bos_token_id")) && data.cls >= 0) data.bos = data.cls;
    if (data.bos >= 0) data.prefix = {data.bos};
    if (data.sep >= 0) data.suffix = {data.sep};
  } else if (data.add_eos && data.eos >= 0) {
    data.suffix = {data.eos};
  }
  find_turn_end(data);
  read_strip_rules(meta, data);
  if (const auto text = meta.text("tokenizer.chat_template")) data.chat_template = *text;
  return data;
}

Tokenizer Tokenizer::from_gguf(const Meta& meta) { return Tokenizer(read_gguf_vocab(meta)); }

}  // namespace nibble
