#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/export_parts.h"

// A GGUF vocabulary as the tokenizer files of a Hugging Face folder.

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view space_mark = "\xe2\x96\x81";  // U+2581

// --- sentencepiece's ModelProto (sentencepiece_model.proto): tags, varints, lengths

void put_varint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(0x80 | (v & 0x7f));
  out += static_cast<char>(v);
}
void put_int(std::string& out, unsigned field, int64_t v) {
  put_varint(out, field << 3);
  put_varint(out, static_cast<uint64_t>(v));
}
void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}
void put_float(std::string& out, unsigned field, float v) {
  put_varint(out, field << 3 | 5);
  char raw[4];
  std::memcpy(raw, &v, 4);
  out.append(raw, 4);
}

// --- tokenizer.json

Json added_tokens(const TokenizerData& data) {
  Json list = Json::array();
  for (size_t i = 0; i < data.types.size(); ++i) {
    const bool special = data.types[i] == TokenType::control || data.types[i] == TokenType::unknown;
    if (!special && data.types[i] != TokenType::user_defined) continue;
    list.push_back({{"id", i},
                    {"content", data.tokens[i]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", special}});
  }
  return list;
}

Json byte_level(bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json pre_tokenizer(const TokenizerData& data) {
  Json steps = Json::array();
  for (const PreTokenizerStep& s : data.pre_tokenizers) {
    if (s.kind == PreTokenizerKind::digits) {
      steps.push_back({{"type", "Digits"}, {"individual_digits", s.individual}});
    } else if (s.kind == PreTokenizerKind::split) {
      static constexpr const char* behaviors[] = {"Isolated", "Removed", "MergedWithPrevious",
                                                  "MergedWithNext", "Contiguous"};
      steps.push_back({{"type", "Split"},
                       {"pattern", {{s.regex ? "Regex" : "String", s.pattern}}},
                       {"behavior", behaviors[static_cast<size_t>(s.behavior)]},
                       {"invert", s.invert}});
    }
  }
  steps.push_back(byte_level(false));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

// Puts bos before and eos after the text, where the vocabulary wants them.
Json post_processor(const TokenizerData& data) {
  Json single = Json::array();
  Json special = Json::object();
  const auto add = [&](int32_t id) {
    const std::string& text = data.tokens.at(static_cast<size_t>(id));
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
  };
  if (data.add_bos && data.bos >= 0) add(data.bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (data.add_eos && data.eos >= 0) add(data.eos);
  if (special.empty()) return byte_level(true);
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(special)}};
}

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Written by hand: the library's ordered objects look every key up among all others.
std::string vocabulary(const TokenizerData& data) {
  std::string text = "{";
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    text += fmt::format("{}\n   {}: {}", i == 0 ? "" : ",", quoted(data.tokens[i]), i);
  }
  return text + "\n  }";
}

std::string byte_level_bpe(const TokenizerData& data) {
  Json merges = Json::array();
  for (const auto& [left, right] : data.merges) merges.push_back(fmt::format("{} {}", left, right));
  const Json j = {{"version", "1.0"},
                  {"truncation", nullptr},
                  {"padding", nullptr},
                  {"added_tokens", added_tokens(data)},
                  {"normalizer", nullptr},
                  {"pre_tokenizer", pre_tokenizer(data)},
                  {"post_processor", post_processor(data)},
                  {"decoder", byte_level(true)},
                  {"model",
                   {{"type", "BPE"},
                    {"dropout", nullptr},
                    {"unk_token", nullptr},
                    {"continuing_subword_prefix", nullptr},
                    {"end_of_word_suffix", nullptr},
                    {"fuse_unk", false},
                    {"byte_fallback", false},
                    {"ignore_merges", data.ignore_merges},
                    {"vocab", nullptr},
                    {"merges", std::move(merges)}}}};
  std::string text = j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  const std::string_view hole = "\"vocab\": null";
  text.replace(text.rfind(hole), hole.size(), "\"vocab\": " + vocabulary(data));
  return text;
}

// GGUF marks the beginning of words, vocab.txt what stands inside one.
std::string word_piece_list(const TokenizerData& data) {
  std::string text;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string& t = data.tokens[i];
    const bool special = (i < data.types.size() && data.types[i] != TokenType::normal) ||
                         (t.starts_with('[') && t.ends_with(']'));
    if (special) {
      text += t;
    } else if (t.starts_with(space_mark)) {
      text += t.substr(space_mark.size());
    } else {
      text += "##" + t;
    }
    text += "\n";
  }
  return text;
}

Json tokenizer_config(const TokenizerData& data) {
  Json j;
  switch (data.model) {
    case TokenizerModel::word_piece:
      j["tokenizer_class"] = "BertTokenizer";
      break;
    case TokenizerModel::bpe:
      j["tokenizer_class"] = "PreTrainedTokenizerFast";
      break;
    default:
      j["tokenizer_class"] = "LlamaTokenizer";
      break;
  }
  const auto name = [&](const char* key, int32_t id) {
    if (id >= 0) j[key] = data.tokens.at(static_cast<size_t>(id));
  };
  name("bos_token", data.bos);
  name("eos_token", data.eos);
  name("unk_token", data.unk);
  name("pad_token", data.pad);
  name("sep_token", data.sep);
  name("cls_token", data.cls);
  name("mask_token", data.mask);
  j["add_bos_token"] = data.add_bos;
  j["add_eos_token"] = data.add_eos;
  if (data.model == TokenizerModel::word_piece) {
    j["do_lower_case"] = data.lowercase;
    j["strip_accents"] = data.strip_accents;
  } else if (data.model != TokenizerModel::bpe) {
    j["legacy"] = false;
    j["add_prefix_space"] = data.add_dummy_prefix;
  }
  j["clean_up_tokenization_spaces"] = false;
  if (!data.chat_template.empty()) j["chat_template"] = data.chat_template;
  return j;
}

}  // namespace

std::string sentencepiece_model(const TokenizerData& data) {
  std::string proto;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    std::string piece;
    put_bytes(piece, 1, data.tokens[i]);
    put_float(piece, 2, i < data.scores.size() ? data.scores[i] : 0);
    const TokenType type = i < data.types.size() ? data.types[i] : TokenType::normal;
    if (type != TokenType::normal && type != TokenType::undefined)
      put_int(piece, 3, static_cast<int64_t>(type));
    put_bytes(proto, 1, piece);
  }
  const bool unigram = data.model == TokenizerModel::unigram;
  const auto name = [&](int32_t id) {
    return id >= 0 ? std::string_view(data.tokens.at(static_cast<size_t>(id))) : std::string_view();
  };
  std::string trainer;
  put_int(trainer, 3, unigram ? 1 : 2);
  put_int(trainer, 4, static_cast<int64_t>(data.tokens.size()));
  put_int(trainer, 35, data.byte_fallback ? 1 : 0);
  put_int(trainer, 40, data.unk);
  put_int(trainer, 41, data.bos);
  put_int(trainer, 42, data.eos);
  put_int(trainer, 43, data.pad);
  if (data.unk >= 0) put_bytes(trainer, 45, name(data.unk));
  if (data.bos >= 0) put_bytes(trainer, 46, name(data.bos));
  if (data.eos >= 0) put_bytes(trainer, 47, name(data.eos));
  if (data.pad >= 0) put_bytes(trainer, 48, name(data.pad));
  put_bytes(proto, 2, trainer);
  std::string normalizer;
  put_bytes(normalizer, 1, "identity");
  put_bytes(normalizer, 2, data.charsmap);
  put_int(normalizer, 3, data.add_dummy_prefix ? 1 : 0);
  put_int(normalizer, 4, data.remove_extra_whitespaces ? 1 : 0);
  put_int(normalizer, 5, 1);
  put_bytes(proto, 3, normalizer);
  return proto;
}

std::vector<ExportFile> tokenizer_files(const TokenizerData& data) {
  std::vector<ExportFile> files;
  switch (data.model) {
    case TokenizerModel::bpe:
      files.push_back({"tokenizer.json", byte_level_bpe(data), {}});
      break;
    case TokenizerModel::word_piece:
      files.push_back({"vocab.txt", word_piece_list(data), {}});
      break;
    default:
      files.push_back({"tokenizer.model", sentencepiece_model(data), {}});
      break;
  }
  files.push_back({"tokenizer_config.json", tokenizer_config(data).dump(2) + "\n", {}});
  return files;
}

}  // namespace nibble
