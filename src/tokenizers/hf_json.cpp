#include "tokenizers/hf_json.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tokenizers/hf_steps.h"
#include "tokenizers/special.h"
#include "tokenizers/vocab.h"

namespace nibble {

namespace {

constexpr int64_t most_tokens = int64_t{1} << 24;

// Places `text` at `id`. Gaps are allowed, within reason: files leave ids out.
class TokenTable {
 public:
  explicit TokenTable(TokenizerData& data) : data_(data), filled_(data.tokens.size(), true) {}

  void put(const JsonField& where, int64_t id, const std::string& text) {
    const auto index = static_cast<size_t>(id);
    if (index >= filled_.size()) {
      filled_.resize(index + 1, false);
      data_.tokens.resize(index + 1);
    }
    if (filled_[index] && data_.tokens[index] != text)
      where.bad("the id {} of '{}' belongs to '{}' already", id, printable(text),
                printable(data_.tokens[index]));
    filled_[index] = true;
    data_.tokens[index] = text;
  }

  void finish(const JsonField& where) {
    size_t count = 0;
    for (const bool used : filled_) count += used;
    if (count * 2 + 65536 < filled_.size())
      where.bad("the largest id is {}, but there are only {} entries", filled_.size() - 1, count);
    data_.types.resize(filled_.size(), TokenType::normal);
    for (size_t i = 0; i < filled_.size(); ++i) {
      if (filled_[i]) continue;
      data_.tokens[i] = fmt::format("[PAD{}]", i);
      data_.types[i] = TokenType::unused;
    }
  }

 private:
  TokenizerData& data_;
  std::vector<bool> filled_;
};

int32_t find_token(const TokenizerData& data, const std::string& text) {
  const auto found = std::find(data.tokens.begin(), data.tokens.end(), text);
  return found == data.tokens.end() ? -1 : static_cast<int32_t>(found - data.tokens.begin());
}

void read_vocab_object(const JsonField& vocab, TokenizerData& data) {
  if (!vocab.value().is_object()) vocab.bad("expected an object, found {}", vocab.value().type_name());
  TokenTable table(data);
  for (const auto& [text, id] : vocab.value().items()) {
    const JsonField entry(id, vocab.path());
    table.put(entry, entry.integer(0, most_tokens - 1), text);
  }
  table.finish(vocab);
}

void read_scored_vocab(const JsonField& vocab, TokenizerData& data) {
  const size_t count = vocab.array_size();
  for (size_t i = 0; i < count; ++i) {
    const JsonField pair = vocab.at(i);
    if (pair.array_size() != 2) pair.bad("expected a piece and its score");
    data.tokens.push_back(pair.at(size_t{0}).text());
    const Json& score = pair.at(1).value();
    if (!score.is_number() || !std::isfinite(score.get<double>())) pair.bad("the score is no finite number");
    data.scores.push_back(score.get<float>());
  }
  data.types.assign(count, TokenType::normal);
}

void read_merges(const JsonField& merges, TokenizerData& data) {
  const size_t count = merges.array_size();
  data.merges.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Json& merge = merges.value()[i];
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      data.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const JsonField field = merges.at(i);
    const std::string& both = field.text();
    const size_t space = both.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == both.size() ||
        both.find(' ', space + 1) != std::string::npos)
      field.bad("'{}' is not two pieces with a space between", printable(both));
    data.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
  }
}

void read_model(const JsonField& model, TokenizerData& data) {
  // Old files do not name the type; only BPE has merges.
  const std::string type = model.at("type").text(model.at("merges").is_null() ? "WordPiece" : "BPE");
  const std::string unknown = model.at("unk_token").text("");
  if (type == "BPE") {
    data.model = TokenizerModel::bpe;
    data.continuing_prefix = model.at("continuing_subword_prefix").text("");
    data.word_suffix = model.at("end_of_word_suffix").text("");
    data.fuse_unk = model.at("fuse_unk").boolean(false);
    data.byte_fallback = model.at("byte_fallback").boolean(false);
    data.ignore_merges = model.at("ignore_merges").boolean(false);
    read_vocab_object(model.at("vocab"), data);
    read_merges(model.at("merges"), data);
  } else if (type == "WordPiece") {
    data.model = TokenizerModel::word_piece;
    data.continuing_prefix = model.at("continuing_subword_prefix").text("##");
    if (const JsonField most = model.at("max_input_chars_per_word"); !most.is_null())
      data.max_word = static_cast<size_t>(most.integer(1, 1 << 20));
    read_vocab_object(model.at("vocab"), data);
  } else if (type == "WordLevel") {
    data.model = TokenizerModel::word_level;
    read_vocab_object(model.at("vocab"), data);
  } else if (type == "Unigram") {
    data.model = TokenizerModel::unigram;
    data.byte_fallback = model.at("byte_fallback").boolean(false);
    read_scored_vocab(model.at("vocab"), data);
    if (const JsonField id = model.at("unk_id"); !id.is_null())
      data.unk = static_cast<int32_t>(id.integer(0, static_cast<int64_t>(data.tokens.size()) - 1));
  } else {
    model.at("type").unsupported(type);
  }
  if (data.tokens.empty()) model.bad("the vocabulary is empty");
  if (!unknown.empty()) {
    data.unk = find_token(data, unknown);
    if (data.unk < 0) model.bad("the unknown token '{}' is not in the vocabulary", printable(unknown));
  }
  if (data.unk >= 0) data.types[static_cast<size_t>(data.unk)] = TokenType::unknown;
  for (size_t i = 0; data.byte_fallback && i < data.tokens.size(); ++i)
    if (byte_of_piece(data.tokens[i]) >= 0) data.types[i] = TokenType::byte;
}

void add_token(const JsonField& field, int64_t id, TokenTable& table, TokenizerData& data) {
  AddedToken token;
  token.id = static_cast<int32_t>(id);
  token.content = field.at("content").text();
  if (token.content.empty()) field.bad("an empty token");
  token.special = field.at("special").boolean(false);
  token.single_word = field.at("single_word").boolean(false);
  token.lstrip = field.at("lstrip").boolean(false);
  token.rstrip = field.at("rstrip").boolean(false);
  token.normalized = field.at("normalized").boolean(!token.special);
  table.put(field, id, token.content);
  data.added.push_back(std::move(token));
}

void type_added(const JsonField& where, TokenTable& table, TokenizerData& data) {
  table.finish(where);
  std::set<int32_t> seen;
  for (const AddedToken& token : data.added) {
    if (!seen.insert(token.id).second) where.bad("the id {} occurs twice", token.id);
    TokenType& type = data.types[static_cast<size_t>(token.id)];
    if (type != TokenType::unknown || token.special)
      type = token.special ? TokenType::control : TokenType::user_defined;
  }
  if (!data.scores.empty()) data.scores.resize(data.tokens.size(), 0.0f);
}

struct NamedToken {
  const char* key;
  int32_t TokenizerData::*id;
};
constexpr NamedToken named_tokens[] = {
    {"bos_token", &TokenizerData::bos},  {"eos_token", &TokenizerData::eos},
    {"unk_token", &TokenizerData::unk},  {"pad_token", &TokenizerData::pad},
    {"sep_token", &TokenizerData::sep},  {"cls_token", &TokenizerData::cls},
    {"mask_token", &TokenizerData::mask}};

void read_chat_template(const JsonField& field, TokenizerData& data) {
  if (field.value().is_string()) {
    data.chat_template = field.text();
  } else if (field.value().is_array()) {  // several under names; the default one counts
    for (size_t i = 0; i < field.array_size(); ++i)
      if (field.at(i).at("name").text("") == "default")
        data.chat_template = field.at(i).at("template").text();
  }
}

}  // namespace

TokenizerData read_hf_tokenizer(std::string_view json, const std::string& name) {
  const Json tree = parse_json_tree(json, name);
  const JsonField root(tree, name);
  TokenizerData data;
  data.source = TokenizerSource::huggingface;
  data.add_dummy_prefix = false;
  data.lowercase = data.strip_accents = false;
  read_model(root.at("model"), data);
  if (const JsonField added = root.at("added_tokens"); !added.is_null()) {
    TokenTable table(data);
    for (size_t i = 0; i < added.array_size(); ++i)
      add_token(added.at(i), added.at(i).at("id").integer(0, most_tokens - 1), table, data);
    type_added(added, table, data);
  }
  read_normalizer_step(root.at("normalizer"), data);
  read_pre_tokenizer_step(root.at("pre_tokenizer"), data);
  read_decoder_step(root.at("decoder"), data);
  read_post_processor(root.at("post_processor"), data);
  for (const PreTokenizerStep& step : data.pre_tokenizers)
    data.add_dummy_prefix = data.add_dummy_prefix || (step.kind == PreTokenizerKind::metaspace &&
                                                      step.prepend != PrependScheme::never);
  for (const NormalizerStep& step : data.normalizers)
    data.add_dummy_prefix =
        data.add_dummy_prefix || (step.kind == NormalizerKind::prepend && step.content == "\xe2\x96\x81");
  if (data.model == TokenizerModel::bpe) data.pre = gguf_name_of_pre_tokenizer(data);
  return data;
}

void read_hf_config(std::string_view json, const std::string& name, TokenizerData& data) {
  const Json tree = parse_json_tree(json, name);
  const JsonField root(tree, name);
  if (const JsonField decoder = root.at("added_tokens_decoder"); !decoder.is_null()) {
    // Tokens beyond those of a tokenizer.model; tokenizer.json lists them itself.
    TokenTable table(data);
    const size_t before = data.tokens.size();
    for (const auto& [id, token] : decoder.value().items()) {
      const JsonField field(token, decoder.path() + "." + printable(id));
      int64_t number = 0;
      for (const char c : id)
        number = c >= '0' && c <= '9' && number < most_tokens ? number * 10 + (c - '0') : most_tokens;
      if (id.empty() || number >= most_tokens) field.bad("the id is no number below {}", most_tokens);
      if (static_cast<size_t>(number) >= before) add_token(field, number, table, data);
    }
    type_added(decoder, table, data);
  }
  for (const NamedToken& named : named_tokens) {
    const JsonField field = root.at(named.key);
    if (field.is_null() || field.value().is_boolean()) continue;
    const std::string text = field.value().is_object() ? field.at("content").text() : field.text();
    if (const int32_t id = find_token(data, text); id >= 0) data.*named.id = id;
  }
  const auto flag = [&](const char* key, bool TokenizerData::*member, int32_t id,
                        std::vector<int32_t>& list) {
    const JsonField field = root.at(key);
    if (!field.value().is_boolean()) return;
    data.*member = field.boolean(false);
    const auto found = std::find(list.begin(), list.end(), id);
    if (data.*member && id >= 0 && found == list.end() && list.empty()) list.push_back(id);
    if (!(data.*member) && found != list.end()) list.erase(found);
  };
  flag("add_bos_token", &TokenizerData::add_bos, data.bos, data.prefix);
  flag("add_eos_token", &TokenizerData::add_eos, data.eos, data.suffix);
  read_chat_template(root.at("chat_template"), data);
}

TokenizerData read_vocab_and_merges(std::string_view vocab, std::string_view merges,
                                    const std::string& name) {
  const Json tree = parse_json_tree(vocab, name);
  TokenizerData data;
  data.source = TokenizerSource::huggingface;
  data.model = TokenizerModel::bpe;
  data.add_dummy_prefix = false;
  read_vocab_object(JsonField(tree, name), data);
  size_t number = 0;
  while (!merges.empty()) {
    std::string_view line = merges.substr(0, merges.find('\n'));
    merges.remove_prefix(std::min(line.size() + 1, merges.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size())
      fail(ErrorKind::bad_input, "merges.txt of {}: line {} '{}' is not two pieces with a space between",
           name, number, printable(line));
    data.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  PreTokenizerStep words;
  words.kind = PreTokenizerKind::byte_level;
  data.pre_tokenizers.push_back(words);
  DecoderStep bytes;
  bytes.kind = DecoderKind::byte_level;
  data.decoders.push_back(bytes);
  data.pre = gguf_name_of_pre_tokenizer(data);
  // GPT-2 and its kin keep their one special token here.
  if (const int32_t end = find_token(data, "<|endoftext|>"); end >= 0) {
    data.types[static_cast<size_t>(end)] = TokenType::control;
    AddedToken token;
    token.id = data.bos = data.eos = end;
    token.content = "<|endoftext|>";
    token.special = true;
    data.added.push_back(token);
  }
  return data;
}

TokenizerData read_vocab_txt(std::string_view text, const std::string& name) {
  TokenizerData data;
  data.source = TokenizerSource::huggingface;
  data.model = TokenizerModel::word_piece;
  data.continuing_prefix = "##";
  data.add_dummy_prefix = false;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    data.tokens.emplace_back(line);
  }
  data.types.assign(data.tokens.size(), TokenType::normal);
  const auto special = [&](const char* piece, int32_t TokenizerData::*id) {
    data.*id = find_token(data, piece);
    if (data.*id < 0) return;
    data.types[static_cast<size_t>(data.*id)] = TokenType::control;
    AddedToken token;
    token.id = data.*id;
    token.content = piece;
    token.special = true;
    data.added.push_back(token);
  };
  special("[UNK]", &TokenizerData::unk);
  special("[CLS]", &TokenizerData::cls);
  special("[SEP]", &TokenizerData::sep);
  special("[PAD]", &TokenizerData::pad);
  special("[MASK]", &TokenizerData::mask);
  if (data.unk < 0 || data.cls < 0 || data.sep < 0)
    fail(ErrorKind::bad_input, "{}: no [UNK], [CLS] or [SEP]: not the vocabulary of a BERT", name);
  data.prefix = {data.cls};
  data.suffix = {data.sep};
  NormalizerStep clean;
  clean.kind = NormalizerKind::bert;
  clean.clean_text = clean.chinese = clean.accents = clean.lowercase = true;
  data.normalizers.push_back(clean);
  PreTokenizerStep words;
  words.kind = PreTokenizerKind::bert;
  data.pre_tokenizers.push_back(words);
  DecoderStep join;
  join.kind = DecoderKind::word_piece;
  join.content = "##";
  join.cleanup = true;
  data.decoders.push_back(join);
  return data;
}

}  // namespace nibble
