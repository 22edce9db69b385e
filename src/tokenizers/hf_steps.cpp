#include "tokenizers/hf_steps.h"

#include <algorithm>
#include <array>

namespace nibble {

namespace {

/// {"String": text} or {"Regex": expression}.
std::string read_pattern(const JsonField& field, bool& regex) {
  if (field.value().is_string()) {
    regex = false;
    return field.text();
  }
  const JsonField expression = field.at("Regex");
  regex = !expression.is_null();
  return regex ? expression.text() : field.at("String").text();
}

PrependScheme read_prepend(const JsonField& step) {
  const JsonField scheme = step.at("prepend_scheme");
  if (scheme.is_null())
    return step.at("add_prefix_space").boolean(true) ? PrependScheme::always : PrependScheme::never;
  if (scheme.text() == "always") return PrependScheme::always;
  if (scheme.text() == "first") return PrependScheme::first;
  if (scheme.text() == "never") return PrependScheme::never;
  scheme.unsupported(scheme.text());
}

SplitBehavior read_behavior(const JsonField& field) {
  const std::string word = field.text("Isolated");
  if (word == "Isolated") return SplitBehavior::isolated;
  if (word == "Removed") return SplitBehavior::removed;
  if (word == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (word == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (word == "Contiguous") return SplitBehavior::contiguous;
  field.unsupported(word);
}

std::string decode_base64(const JsonField& field) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : field.text()) {
    uint32_t v = 0;
    if (c >= 'A' && c <= 'Z')
      v = static_cast<uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      v = static_cast<uint32_t>(c - 'a' + 26);
    else if (c >= '0' && c <= '9')
      v = static_cast<uint32_t>(c - '0' + 52);
    else if (c == '+')
      v = 62;
    else if (c == '/')
      v = 63;
    else if (c == '=')
      break;
    else
      field.bad("no base64");
    bits = (bits << 6) | v;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>((bits >> count) & 0xff);
  }
  return out;
}

void each(const JsonField& list, TokenizerData& data, void (*read)(const JsonField&, TokenizerData&)) {
  for (size_t i = 0; i < list.array_size(); ++i) read(list.at(i), data);
}

int32_t token_id(const JsonField& field, const TokenizerData& data) {
  return static_cast<int32_t>(field.integer(0, static_cast<int64_t>(data.tokens.size()) - 1));
}

}  // namespace

void read_normalizer_step(const JsonField& field, TokenizerData& data) {
  if (field.is_null()) return;
  const std::string& type = field.at("type").text();
  if (type == "Sequence") return each(field.at("normalizers"), data, read_normalizer_step);
  NormalizerStep step;
  constexpr std::array<std::pair<std::string_view, NormalizerKind>, 8> plain = {
      {{"NFC", NormalizerKind::nfc},
       {"NFD", NormalizerKind::nfd},
       {"NFKC", NormalizerKind::nfkc},
       {"NFKD", NormalizerKind::nfkd},
       {"Lowercase", NormalizerKind::lowercase},
       {"StripAccents", NormalizerKind::strip_accents},
       {"Nmt", NormalizerKind::nmt},
       {"ByteLevel", NormalizerKind::byte_level}}};
  const auto simple =
      std::find_if(plain.begin(), plain.end(), [&](const auto& p) { return p.first == type; });
  if (simple != plain.end()) {
    step.kind = simple->second;
  } else if (type == "BertNormalizer") {
    step.kind = NormalizerKind::bert;
    step.clean_text = field.at("clean_text").boolean(true);
    step.chinese = field.at("handle_chinese_chars").boolean(true);
    step.lowercase = data.lowercase = field.at("lowercase").boolean(true);
    step.accents = data.strip_accents = field.at("strip_accents").boolean(step.lowercase);
  } else if (type == "Prepend") {
    step.kind = NormalizerKind::prepend;
    step.content = field.at("prepend").text();
  } else if (type == "Replace") {
    step.kind = NormalizerKind::replace;
    step.pattern = read_pattern(field.at("pattern"), step.regex);
    step.content = field.at("content").text();
  } else if (type == "Strip") {
    step.kind = NormalizerKind::strip;
    step.left = field.at("strip_left").boolean(true);
    step.right = field.at("strip_right").boolean(true);
  } else if (type == "Precompiled") {
    step.kind = NormalizerKind::precompiled;
    step.content = data.charsmap = decode_base64(field.at("precompiled_charsmap"));
  } else {
    field.unsupported(type);
  }
  data.normalizers.push_back(std::move(step));
}

void read_pre_tokenizer_step(const JsonField& field, TokenizerData& data) {
  if (field.is_null()) return;
  const std::string& type = field.at("type").text();
  if (type == "Sequence") return each(field.at("pretokenizers"), data, read_pre_tokenizer_step);
  PreTokenizerStep step;
  if (type == "ByteLevel") {
    step.kind = PreTokenizerKind::byte_level;
    step.add_prefix_space = field.at("add_prefix_space").boolean(true);
    step.use_regex = field.at("use_regex").boolean(true);
  } else if (type == "Split") {
    step.kind = PreTokenizerKind::split;
    step.pattern = read_pattern(field.at("pattern"), step.regex);
    step.behavior = read_behavior(field.at("behavior"));
    step.invert = field.at("invert").boolean(false);
  } else if (type == "Digits") {
    step.kind = PreTokenizerKind::digits;
    step.individual = field.at("individual_digits").boolean(false);
  } else if (type == "Punctuation") {
    step.kind = PreTokenizerKind::punctuation;
    step.behavior = read_behavior(field.at("behavior"));
  } else if (type == "Metaspace") {
    step.kind = PreTokenizerKind::metaspace;
    step.replacement = field.at("replacement").text("\xe2\x96\x81");
    step.prepend = read_prepend(field);
    step.split = field.at("split").boolean(true);
  } else if (type == "CharDelimiterSplit") {
    step.kind = PreTokenizerKind::delimiter;
    step.replacement = field.at("delimiter").text();
  } else if (type == "Whitespace") {
    step.kind = PreTokenizerKind::whitespace;
  } else if (type == "WhitespaceSplit") {
    step.kind = PreTokenizerKind::whitespace_split;
  } else if (type == "BertPreTokenizer") {
    step.kind = PreTokenizerKind::bert;
  } else {
    field.unsupported(type);
  }
  data.pre_tokenizers.push_back(std::move(step));
}

void read_decoder_step(const JsonField& field, TokenizerData& data) {
  if (field.is_null()) return;
  const std::string& type = field.at("type").text();
  if (type == "Sequence") return each(field.at("decoders"), data, read_decoder_step);
  DecoderStep step;
  if (type == "ByteLevel") {
    step.kind = DecoderKind::byte_level;
  } else if (type == "WordPiece") {
    step.kind = DecoderKind::word_piece;
    step.content = field.at("prefix").text("##");
    step.cleanup = field.at("cleanup").boolean(true);
  } else if (type == "Metaspace") {
    step.kind = DecoderKind::metaspace;
    step.pattern = field.at("replacement").text("\xe2\x96\x81");
    step.prepend = read_prepend(field);
  } else if (type == "ByteFallback") {
    step.kind = DecoderKind::byte_fallback;
  } else if (type == "Fuse") {
    step.kind = DecoderKind::fuse;
  } else if (type == "Strip") {
    step.kind = DecoderKind::strip;
    step.pattern = field.at("content").text(" ");
    step.start = static_cast<size_t>(field.at("start").integer(0, 1 << 20));
    step.stop = static_cast<size_t>(field.at("stop").integer(0, 1 << 20));
  } else if (type == "Replace") {
    step.kind = DecoderKind::replace;
    bool regex = false;
    step.pattern = read_pattern(field.at("pattern"), regex);
    if (regex) field.unsupported("a regular expression in a decoder");
    step.content = field.at("content").text();
  } else if (type == "BPEDecoder") {
    step.kind = DecoderKind::bpe;
    step.content = field.at("suffix").text("</w>");
  } else {
    field.unsupported(type);
  }
  data.decoders.push_back(std::move(step));
}

void read_post_processor(const JsonField& field, TokenizerData& data) {
  if (field.is_null()) return;
  const std::string& type = field.at("type").text();
  if (type == "Sequence") return each(field.at("processors"), data, read_post_processor);
  if (type == "ByteLevel") return;  // concerns offsets only
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    // ["[SEP]", 102]
    data.prefix = {data.cls =
                       token_id(field.at("cls").array_size() > 1 ? field.at("cls").at(1) : field, data)};
    data.suffix = {data.sep =
                       token_id(field.at("sep").array_size() > 1 ? field.at("sep").at(1) : field, data)};
    return;
  }
  if (type != "TemplateProcessing") field.unsupported(type);
  const JsonField single = field.at("single");
  bool before = true;
  data.prefix.clear();
  data.suffix.clear();
  for (size_t i = 0; i < single.array_size(); ++i) {
    const JsonField part = single.at(i);
    if (!part.at("Sequence").is_null()) {
      before = false;
      continue;
    }
    const std::string& name = part.at("SpecialToken").at("id").text();
    const JsonField ids = field.at("special_tokens").at(name.c_str()).at("ids");
    for (size_t k = 0; k < ids.array_size(); ++k)
      (before ? data.prefix : data.suffix).push_back(token_id(ids.at(k), data));
  }
}

}  // namespace nibble
