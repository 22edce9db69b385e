#include "tokenizers/checks.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizers/utf8.h"

namespace nibble {

std::string printable(std::string_view text) {
  std::string out;
  constexpr size_t most = 60;
  for (const char c : utf8::lossy(text.substr(0, most), utf8::Lossy::per_byte)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return text.size() > most ? out + "…" : out;
}

void check_and_complete(TokenizerData& data) {
  constexpr size_t most = size_t{1} << 24;
  const size_t count = data.tokens.size();
  if (count == 0) fail(ErrorKind::bad_input, "the vocabulary is empty");
  if (count > most)
    fail(ErrorKind::bad_input, "the vocabulary has {} entries, expected at most {}", count, most);
  if (data.types.empty()) data.types.assign(count, TokenType::normal);
  if (data.types.size() != count)
    fail(ErrorKind::bad_input, "{} token types for {} tokens", data.types.size(), count);
  const bool needs_scores = data.model == TokenizerModel::spm_bpe || data.model == TokenizerModel::unigram;
  if (data.scores.empty() && needs_scores) data.scores.assign(count, 0.0f);
  if (!data.scores.empty() && data.scores.size() != count)
    fail(ErrorKind::bad_input, "{} scores for {} tokens", data.scores.size(), count);
  const auto check_id = [&](const char* what, int32_t id) {
    if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= count))
      fail(ErrorKind::bad_input, "the {} token has id {}, expected less than {}", what, id, count);
  };
  check_id("bos", data.bos);
  check_id("eos", data.eos);
  check_id("unk", data.unk);
  check_id("pad", data.pad);
  check_id("sep", data.sep);
  check_id("cls", data.cls);
  check_id("mask", data.mask);
  check_id("eot", data.eot);
  for (const AddedToken& added : data.added) {
    if (added.id < 0) fail(ErrorKind::bad_input, "an added token has id {}", added.id);
    check_id("added", added.id);
  }
  if (data.prefix.empty() && data.suffix.empty()) {
    if (data.add_bos && data.bos >= 0) data.prefix = {data.bos};
    if (data.add_eos && data.eos >= 0) data.suffix = {data.eos};
  }
  // BERT's begin of sequence is its [CLS]; tokenizer.json says so only by what it puts around the text.
  if (data.model == TokenizerModel::word_piece) {
    if (data.cls < 0 && data.prefix.size() == 1) data.cls = data.prefix.front();
    if (data.sep < 0 && data.suffix.size() == 1) data.sep = data.suffix.front();
    if (data.bos < 0) data.bos = data.cls;
  }
  const auto has = [](const std::vector<int32_t>& ids, int32_t id) {
    return id >= 0 && std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  data.add_bos = data.add_bos || has(data.prefix, data.bos);
  data.add_eos = data.add_eos || has(data.suffix, data.eos);
  for (const int32_t id : data.prefix) check_id("leading", id);
  for (const int32_t id : data.suffix) check_id("closing", id);
}

}  // namespace nibble
