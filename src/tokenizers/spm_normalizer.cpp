#include "tokenizers/spm_normalizer.h"

#include "tokenizers/utf8.h"

namespace nibble {

SpmNormalizer::SpmNormalizer(const TokenizerData& data, const Trie& user_defined)
    : data_(data), user_defined_(user_defined), map_(data.charsmap, "precompiled_charsmap") {}

SpmNormalizer::Step SpmNormalizer::next(std::string_view input) const {
  if (const Trie::Match user = user_defined_.longest(input); user.length > 0)
    return {input.substr(0, user.length), user.length};
  if (const auto rule = map_.longest(input)) return {rule->replacement, rule->length};
  const utf8::Decoded decoded = utf8::decode(input);
  return {decoded.valid ? input.substr(0, decoded.length) : utf8::replacement, decoded.length};
}

std::string SpmNormalizer::run(std::string_view text) const {
  const std::string_view space = data_.escape_whitespaces ? utf8::meta_space : " ";
  const bool squeeze = data_.remove_extra_whitespaces;
  while (squeeze && !text.empty()) {
    const Step step = next(text);
    if (step.text != " ") break;
    text.remove_prefix(step.consumed);
  }
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (data_.add_dummy_prefix && !data_.whitespace_as_suffix) out += space;
  bool after_space = squeeze;
  while (!text.empty()) {
    const Step step = next(text);
    std::string_view piece = step.text;
    while (after_space && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      for (const char c : piece) {
        if (c == ' ')
          out += space;
        else
          out += c;
      }
      after_space = squeeze && piece.ends_with(' ');
    }
    text.remove_prefix(step.consumed);
  }
  while (squeeze && out.ends_with(space)) out.resize(out.size() - space.size());
  if (data_.add_dummy_prefix && data_.whitespace_as_suffix) out += space;
  // A damaged character map may hold anything.
  return map_.empty() && user_defined_.empty() ? out : utf8::lossy(out, utf8::Lossy::per_byte);
}

}  // namespace nibble
