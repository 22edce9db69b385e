#include "tokenizers/added_tokens.h"

#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace nibble {

namespace {

/// Start of the last code point of `text` (not empty).
size_t last_point(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool word_at_end(std::string_view text) {
  return !text.empty() && unicode::is_word(utf8::decode(text.substr(last_point(text))).code);
}

bool word_at_start(std::string_view text) {
  return !text.empty() && unicode::is_word(utf8::decode(text).code);
}

}  // namespace

AddedTokens::AddedTokens(const TokenizerData& data, bool normalized, const TextNormalizer& normalizer)
    : data_(data) {
  std::vector<std::pair<std::string_view, int32_t>> all, plain;
  for (size_t i = 0; i < data.added.size(); ++i) {
    const AddedToken& token = data.added[i];
    if (token.normalized != normalized) continue;
    const std::string_view spelled =
        spelled_.emplace_back(normalized ? normalizer.run(token.content) : token.content);
    all.emplace_back(spelled, static_cast<int32_t>(i));
    if (!token.special) plain.emplace_back(spelled, static_cast<int32_t>(i));
  }
  all_ = Trie(std::move(all));
  plain_ = Trie(std::move(plain));
}

std::vector<Part> AddedTokens::split(std::string_view text, bool parse_special) const {
  const Trie& trie = parse_special ? all_ : plain_;
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    const Trie::Match match = trie.longest(text.substr(at));
    if (match.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = data_.added[static_cast<size_t>(match.value)];
    size_t begin = at, end = at + match.length;
    at = end;
    if (token.single_word && (word_at_end(text.substr(0, begin)) || word_at_start(text.substr(end))))
      continue;
    if (begin < done) continue;  // its start was swallowed by the token before it
    while (token.lstrip && begin > done) {
      const size_t point = last_point(text.substr(0, begin));
      if (!unicode::is_whitespace(utf8::decode(text.substr(point)).code)) break;
      begin = point;
    }
    while (token.rstrip && end < text.size()) {
      const utf8::Decoded next = utf8::decode(text.substr(end));
      if (!unicode::is_whitespace(next.code)) break;
      end += next.length;
    }
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace nibble
